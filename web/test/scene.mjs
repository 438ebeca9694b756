import { once } from 'node:events';
import http from 'node:http';

import { openBrowser } from '../../tests/browser/browser.mjs';
import { NotificationServer } from '../../tests/browser/server.mjs';

export const PAGES = ['live', 'tasks', 'connections', 'webhooks', 'event-types', 'overview', 'compose'];

/** What `PAGES` are called. */
export const NAMES = { live: 'Live', tasks: 'Tasks', connections: 'Connections', webhooks: 'Webhooks', 'event-types': 'Event types', overview: 'Overview', compose: 'Compose' };

const SETTINGS = `
[webhooks]
dev_allow_loopback = true
retry_delays = ["1s"]
`;

export const EVENTS = [
  { type: 'notification', message: 'Backup of eu-west-1 done', topic: 'ops/backups', notification_type: 'success', tags: ['eu', 'nightly'] },
  { type: 'notification', message: 'Disk 92 % full on db-3', topic: 'ops/disk', notification_type: 'warning', priority: 4, tags: ['eu'] },
  { type: 'event', name: 'incident.created', data: { severity: 2, service: 'checkout' } },
  { type: 'notification', title: 'Payments', message: 'Refused by the card network', topic: 'ops/payments', notification_type: 'error', priority: 5, require_ack: true },
  { type: 'notification', message: 'Version 4.2 is out', topic: 'releases' },
  { type: 'event', name: 'order.placed', topic: 'shop/orders', data: { order: 'A-1041', total: 42.5 } },
];

/** A receiver of webhooks that takes what it gets, and below /broken nothing. */
async function receiver(t) {
  const server = http.createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(request.url === '/broken' ? 500 : 204).end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Throws unless the server did it; resolves to what it said. */
export async function ask(server, method, path, body) {
  const response = await server.ask(method, path, body);
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** A server on which something is going on, of every kind that the dashboard shows. */
export async function busyServer(t) {
  const server = await NotificationServer.startWith(t, SETTINGS);
  const to = await receiver(t);
  const api = (method, path, body) => ask(server, method, path, body);
  await api('PUT', '/v1/event-types/incident.created', {
    description: 'Something broke and somebody has to look', topic: 'incidents',
    payload_schema: {
      type: 'object', required: ['severity', 'service'],
      properties: {
        severity: { type: 'integer', minimum: 1, maximum: 5, description: '1 is the worst' },
        service: { type: 'string', minLength: 1 },
        state: { enum: ['open', 'closed'] },
        is_public: { type: 'boolean' },
        host: { type: 'object', properties: { name: { type: 'string' }, region: { type: 'string' } } },
      },
    },
    arguments: { severity: 'min', service: 'glob' },
  });
  await api('POST', '/v1/webhooks', { url: `${to}/billing`, topics: ['ops/**'], description: 'Billing' });
  await api('POST', '/v1/webhooks', { url: `${to}/broken`, topics: ['incidents'], description: 'Pager' });
  for (const name of ['alice', 'bob']) {
    const away = new AbortController();
    t.after(() => away.abort());
    const stream = await fetch(`${server.origin}/v1/stream?client_id=${name}&durable=true&topic=ops/**`, { signal: away.signal });
    stream.text().catch(() => undefined);
    await api('PUT', `/v1/groups/ops/clients/${name}`);
  }
  await api('POST', '/v1/events', EVENTS);
  await api('PUT', '/v1/tasks/import', { task_name: 'Import customers', step: 340, total_steps: 1000, message: 'Reading people.csv', topic: 'jobs/import' });
  await api('PUT', '/v1/tasks/encode', { task_name: 'Encode video', progress: 72.5, message: 'Second pass', topic: 'jobs/video' });
  await api('PUT', '/v1/tasks/crawl', { task_name: 'Crawl', message: 'Looking for pages', topic: 'jobs/crawl' });
  await api('PUT', '/v1/tasks/report', { task_name: 'Monthly report', step: 1, total_steps: 4, topic: 'jobs/report' });
  await api('PUT', '/v1/tasks/report', { state: 'failed', message: 'The printer is on fire', topic: 'jobs/report' });
  await api('PUT', '/v1/tasks/build', { task_name: 'Build', step: 12, total_steps: 12, topic: 'jobs/build' });
  return { server, to, api };
}

/** A page of the dashboard, and what went wrong on it: errors of scripts, and whatever the policy forbade. */
export async function openPage(t, server, path = '', { name, ...context } = {}) {
  const browser = await openBrowser(t, name);
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...context })).newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => { if (message.type() === 'error') wrong.push(message.text()); });
  await page.goto(`${server.origin}/${path && `#/${path}`}`);
  return { page, wrong };
}
