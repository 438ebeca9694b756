import { backoff } from './backoff.js';
import { NotificationError, unreachable } from './error.js';
import type { Credential, ServerEvent, Status } from './event.js';
import { address, streamQuery, type StreamOptions } from './query.js';
import type { Message } from './sse.js';
import type { Transport } from './transport.js';

export type State = 'connecting' | 'open' | 'waiting' | 'closed';

/** What a stream hands on. */
export type Item = ServerEvent | Status;

/** Who gets what a stream hands on. */
export interface Sink {
  /** `place` is where to resume after it. If this is not done at once, nothing more is wanted before it is. */
  item(item: Item, place: string): void | Promise<void>;
  state(state: State, error?: NotificationError): void;
}

export interface Settings extends StreamOptions {
  url: string | URL;
  credential?: Credential | undefined;
  ticket?: (() => string | Promise<string>) | undefined;
  /** Waits so many milliseconds, less if it is told to stop. */
  sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  transport: Transport;
}

/** A stream that comes back where it was until it is closed, or refused for good. */
export class Stream {
  readonly #settings: Settings;
  readonly #sink: Sink;
  readonly #closed = new AbortController();
  #place: string;
  #retry: number | undefined;
  /** Ends the connection that is open, so that one with another credential follows. */
  #renewal: AbortController | undefined;
  #renewTimer: ReturnType<typeof setTimeout> | undefined;
  #lostCredential = false;

  constructor(settings: Settings, sink: Sink, place = '') {
    this.#settings = settings;
    this.#sink = sink;
    this.#place = place;
  }

  close(): void {
    this.#closed.abort();
  }

  /** Until it is closed. Throws why, if the server does not want it. */
  async run(): Promise<void> {
    const { signal } = this.#closed;
    let failures = 0;
    let rejections = 0;
    while (!signal.aborted) {
      let opened = false;
      let retryAfter: number | undefined;
      const renewal = new AbortController();
      this.#renewal = renewal;
      this.#lostCredential = false;
      this.#sink.state('connecting');
      try {
        const opening = { ...await this.#opening(), signal: AbortSignal.any([signal, renewal.signal]) };
        await this.#settings.transport(opening, {
          open: () => { opened = true; this.#sink.state('open'); },
          lost: () => this.#sink.state('connecting'),
          message: (message) => this.#message(message),
          place: (place) => { this.#place = place; },
          retry: (milliseconds) => { this.#retry = milliseconds; },
        });
      } catch (error) {
        const why = error instanceof NotificationError ? error : unreachable(error);
        if (signal.aborted) break;
        if (why.kind === 'refused') throw why;
        if (why.kind === 'unauthorized') {
          rejections += 1;
          if (rejections > 1 || !this.#canRenew()) throw why;
          continue;
        }
        ({ retryAfter } = why);
      } finally {
        clearTimeout(this.#renewTimer);
      }
      if (signal.aborted) break;
      if (this.#lostCredential && !this.#canRenew()) {
        throw new NotificationError('unauthorized', 401, 'the credential of this stream is no longer good');
      }
      if (renewal.signal.aborted) continue;
      if (opened) rejections = 0;
      failures = opened ? 0 : failures + 1;
      this.#sink.state('waiting');
      await this.#settings.sleep(backoff(failures, this.#retry, retryAfter, Math.random()), signal);
    }
  }

  async #opening(): Promise<{ url: URL; headers: Record<string, string>; lastEventId: string }> {
    const { credential, ticket, url } = this.#settings;
    const query = streamQuery(this.#settings, ticket && await ticket());
    const key = typeof credential === 'function' ? await credential() : credential;
    const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
    return { url: address(url, '/v1/stream', query), headers, lastEventId: this.#place };
  }

  async #handOn(item: Item, place: string, taken: void | Promise<void>): Promise<void> {
    await taken;
    this.#note(item, place);
  }

  #message({ data, lastEventId }: Message): void | Promise<void> {
    const item = read(data);
    const taken = this.#sink.item(item, lastEventId);
    if (taken) return this.#handOn(item, lastEventId, taken);
    this.#note(item, lastEventId);
  }

  #note(item: Item, place: string): void {
    this.#place = place;
    if (item.type !== 'status') return;
    if (item.status === 'unauthorized') this.#lostCredential = true;
    if (item.status === 'credential_expiring' && this.#canRenew()) this.#renewBefore(item.expires_at);
  }

  /** Comes back with another credential before this one ends; when, is left to chance. */
  #renewBefore(expiresAt: string): void {
    const left = Math.max(Date.parse(expiresAt) - Date.now(), 0) || 0;
    const renewal = this.#renewal;
    clearTimeout(this.#renewTimer);
    this.#renewTimer = setTimeout(() => renewal?.abort(), (left / 2) * Math.random());
  }

  #canRenew(): boolean {
    const { credential, ticket } = this.#settings;
    return typeof credential === 'function' || ticket !== undefined;
  }
}

function read(data: string): Item {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === 'object' && value !== null && typeof (value as Item).type === 'string') return value as Item;
  } catch { /* said below */ }
  return { type: 'status', status: 'unreadable', data };
}

/** Waits, less if it is told to stop. */
export const sleep = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener('abort', end);
  });
