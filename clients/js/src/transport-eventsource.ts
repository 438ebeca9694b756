import { refusal, unreachable } from './error.js';
import type { Transport } from './transport.js';

/**
 * Reads a stream with the browser's `EventSource`, which sends the page's cookies
 * and no headers, comes back by itself as the server wants it, and says where it
 * was. It ends when the browser gives up, which it does when the server refuses;
 * with a ticket, which opens one stream only, at the first cut; and when events
 * come faster than they are taken.
 */
export const eventSourceTransport: Transport = async ({ url, lastEventId, signal }, listener) => {
  const target = new URL(url);
  if (lastEventId !== '') {
    target.searchParams.set('last_event_id', lastEventId);
    // Where to begin was said before; a server takes one or the other.
    target.searchParams.delete('since');
  }
  const hasTicket = target.searchParams.has('ticket');
  const source = new EventSource(target);
  let taken: void | Promise<void> = undefined;
  const why = await new Promise<'gave up' | 'over'>((resolve) => {
    signal.addEventListener('abort', () => resolve('over'), { once: true });
    source.onopen = () => listener.open();
    source.onmessage = (event: MessageEvent<string>) => {
      taken = listener.message({ data: event.data, lastEventId: event.lastEventId });
      if (!taken) return;
      source.close();
      resolve('over');
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) resolve(hasTicket ? 'over' : 'gave up');
      else if (hasTicket) resolve('over');
      else listener.lost();
    };
  });
  source.close();
  await taken;
  if (why === 'gave up') await ask(target, signal);
};

/**
 * Why the server refuses, which the browser keeps to itself. HEAD is answered
 * as the stream would be, without one.
 */
async function ask(target: URL, signal: AbortSignal): Promise<void> {
  const init: RequestInit = { cache: 'no-store', signal };
  const ask = (method: string) => fetch(target, { ...init, method }).catch((error: unknown) => {
    throw unreachable(error);
  });
  if ((await ask('HEAD')).ok) return;
  const response = await ask('GET');
  if (!response.ok) throw await refusal(response);
  await response.body?.cancel();
}
