import { readFile } from 'node:fs/promises';

const DOCUMENTED_ORIGIN = 'http://127.0.0.1:8005';
const client = await readFile(new URL('client.js', import.meta.url), 'utf8');

/**
 * A page that runs the documented client (client.js, to the letter) against `origin`.
 * It keeps each call of the client's handlers in `calls`, and each message in `messages`.
 */
export function clientPage(origin) {
  return `<!doctype html>
<title>Notifications</title>
<script>
const calls = [];
const updateProgressBar = (...args) => calls.push(['updateProgressBar', ...args]);
const showNotification = (...args) => calls.push(['showNotification', ...args]);
const updateConnectionStatus = (...args) => calls.push(['updateConnectionStatus', ...args]);

${client.replace(DOCUMENTED_ORIGIN, origin)}

const messages = [];
eventSource.addEventListener('message', ({ data, lastEventId }) =>
  messages.push({ data: JSON.parse(data), lastEventId }));
</script>
`;
}
