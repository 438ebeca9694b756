import { NotificationError, refusal, unreachable } from './error.js';
import { SseParser } from './sse.js';
import type { Transport } from './transport.js';

/**
 * Reads a stream with `fetch`: it can send headers, and reads no faster than its
 * events are taken. A server that says nothing for `silence` milliseconds, not
 * even a heartbeat, is taken for gone.
 */
export const fetchTransport = (silence: number, fetch: typeof globalThis.fetch): Transport =>
  async ({ url, headers, lastEventId, signal }, listener) => {
    const gone = new AbortController();
    const both = AbortSignal.any([signal, gone.signal]);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => gone.abort(), silence);
    };
    try {
      alive();
      const asked: Record<string, string> = { ...headers, accept: 'text/event-stream' };
      if (lastEventId !== '') asked['last-event-id'] = lastEventId;
      const response = await fetch(url, { headers: asked, signal: both, cache: 'no-store' }).catch((error: unknown) => {
        throw unreachable(error);
      });
      if (!response.ok) throw await refusal(response);
      const type = response.headers.get('content-type') ?? '';
      if (!type.startsWith('text/event-stream') || !response.body) {
        await response.body?.cancel();
        throw new NotificationError('refused', response.status, `the answer is no event stream, but ${type || 'nothing'}`);
      }
      listener.open();
      const parser = new SseParser(lastEventId);
      const reader = response.body.getReader();
      for (;;) {
        alive();
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        for (const message of parser.push(value)) await listener.message(message);
        listener.place(parser.lastEventId);
        if (parser.retry !== undefined) listener.retry(parser.retry);
      }
    } catch (error) {
      // A connection that was open and broke is no refusal.
      if (error instanceof NotificationError) throw error;
    } finally {
      clearTimeout(timer);
      gone.abort();
    }
  };
