import { Api } from './api.js';
import type { NotificationError } from './error.js';
import type { Credential, Gap, ServerEvent, Status } from './event.js';
import { address, defaultServer, streamQuery, type StreamOptions } from './query.js';
import { Seen } from './seen.js';
import { canShare, SharedStream, type Runs } from './shared.js';
import { sleep, Stream, type Item, type Settings, type Sink, type State } from './stream.js';
import { eventSourceTransport } from './transport-eventsource.js';
import { fetchTransport } from './transport-fetch.js';

export type { State } from './stream.js';

export interface ConnectOptions extends StreamOptions {
  /** The server; that of the page, if left out, and outside of pages `http://127.0.0.1:8005`. */
  url?: string | URL;
  /** A key or token, sent in a header; or what gets one, asked again when one ends. */
  credential?: Credential;
  /**
   * Gets a ticket (`POST /v1/tickets`, by your backend), for pages that hold no
   * key. The ticket says which events.
   */
  ticket?: () => string | Promise<string>;
  /** Where to resume: a `cursor` of an earlier connection. */
  lastEventId?: string;
  /** `EventSource`, where there is one and no header is needed, unless this says otherwise. */
  transport?: 'fetch' | 'eventsource';
  /**
   * One connection for all tabs of this browser that ask for the same; so by
   * default, where there is neither a credential nor a ticket, which may be
   * another in each tab, and no snapshot.
   */
  shared?: boolean;
  /** With `fetch`, after so much silence the server is taken for gone; it sends a heartbeat every 15. */
  silenceSeconds?: number;
  /** Closes it. */
  signal?: AbortSignal;
  /** Each event. What follows waits for what it returns. */
  onEvent?: (event: ServerEvent) => void | Promise<void>;
  /** Each status, gaps included. */
  onStatus?: (status: Status) => void;
  /** Events may be missing. */
  onGap?: (gap: Gap) => void;
  onStateChange?: (state: State) => void;
  /** It is over: the server refuses. Not called when it is closed. */
  onError?: (error: NotificationError) => void;
  /** @internal */
  sleep?: Settings['sleep'];
  /** @internal */
  fetch?: typeof globalThis.fetch;
}

/** How many events wait for an iterator before the server is read no further. */
const MAX_WAITING = 1_000;

/**
 * Receives events, from now on or from where the options say, until it is
 * closed. It comes back by itself after cuts and restarts, where it was.
 *
 * ```ts
 * for await (const event of connect({ url, topics: ['ops/**'] })) console.log(event);
 * ```
 *
 * An iterator throws, and `onError` is told, a `NotificationError` when the
 * server refuses for good.
 */
export const connect = (options: ConnectOptions = {}): Connection => new Connection(options);

export class Connection implements AsyncIterable<ServerEvent> {
  /** Publishes, acknowledges and asks, as the same. */
  readonly api: Api;
  /** When it is over; why, if the server refused. */
  readonly closed: Promise<NotificationError | undefined>;

  readonly #options: ConnectOptions;
  readonly #seen = new Seen();
  readonly #stream: Runs;
  #state: State = 'connecting';
  #cursor: string;
  #connectionId: string | undefined;
  #error: NotificationError | undefined;
  /** For the iterator; without one and with a callback nobody would empty it. */
  #queue: ServerEvent[] | undefined;
  #hasIterator = false;
  /** Wakes the iterator. */
  #wake: () => void = () => undefined;
  /** Wakes who reads the server. */
  #drained: (() => void) | undefined;

  /** @internal */
  constructor(options: ConnectOptions) {
    this.#options = options;
    this.#cursor = options.lastEventId ?? '';
    this.#queue = options.onEvent ? undefined : [];
    const url = options.url ?? defaultServer();
    this.api = new Api({ url, ...options.credential === undefined ? {} : { credential: options.credential } });
    const settings: Settings = { ...options, url, sleep: options.sleep ?? sleep, transport: transport(options) };
    const sink: Sink = { item: (item, place) => this.#take(item, place), state: (state) => this.#become(state) };
    const open = (sink: Sink, place: string) => new Stream(settings, sink, place);
    const shares = options.shared ?? !(options.credential || options.ticket || options.snapshot);
    this.#stream = shares && canShare()
      ? new SharedStream(address(url, '/', streamQuery(options)).href, open,
        options.lastEventId || options.since ? (sink) => this.#catchUp(sink) : undefined, sink, this.#cursor)
      : open(sink, this.#cursor);
    options.signal?.addEventListener('abort', () => this.close(), { once: true });
    this.closed = this.#run();
    if (options.signal?.aborted) this.close();
  }

  get state(): State {
    return this.#state;
  }

  /** Where to resume: for `lastEventId`, after a restart of yours. */
  get cursor(): string {
    return this.#cursor;
  }

  /** As the server calls it, once it is open. */
  get connectionId(): string | undefined {
    return this.#connectionId;
  }

  close(): void {
    this.#stream.close();
  }

  /** Acknowledges events, or everything up to a cursor, as this connection's client. */
  async acknowledge(what: ServerEvent | ServerEvent[] | { cursor: string }): Promise<void> {
    const { clientId } = this.#options;
    if (clientId === undefined) throw new TypeError('to acknowledge takes a clientId');
    const events = Array.isArray(what) ? what : 'event_id' in what ? [what] : undefined;
    await this.api.acknowledge(clientId, events ? { eventIds: events.map((e) => e.event_id) } : what as { cursor: string });
  }

  /**
   * The events: all since `connect`, or with `onEvent`, which has had those, from
   * now on. There is one iterator; leaving it closes the connection.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ServerEvent, void, undefined> {
    if (this.#hasIterator) throw new TypeError('this connection has an iterator already');
    this.#hasIterator = true;
    this.#queue ??= [];
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event) {
          if (this.#queue.length === 0) this.#drained?.();
          yield event;
        } else if (this.#state === 'closed') {
          if (this.#error) throw this.#error;
          return;
        } else {
          await new Promise<void>((resolve) => { this.#wake = resolve; });
        }
      }
    } finally {
      this.#drained?.();
      this.close();
    }
  }

  async #run(): Promise<NotificationError | undefined> {
    // Callbacks hear nothing before `connect` has returned.
    await null;
    try {
      await this.#stream.run();
    } catch (error) {
      this.#error = error as NotificationError;
    }
    this.#become('closed');
    if (this.#error) guarded(this.#options.onError, this.#error);
    this.#wake();
    return this.#error;
  }

  #become(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    guarded(this.#options.onStateChange, state);
  }

  #take(item: Item, place: string): void | Promise<void> {
    const taken = item.type === 'status' ? this.#takeStatus(item) : this.#takeEvent(item);
    this.#cursor = place || this.#cursor;
    return taken;
  }

  #takeStatus(status: Status): void {
    if (status.status === 'connected') this.#connectionId = status.connection_id;
    if (status.status === 'gap') guarded(this.#options.onGap, status);
    guarded(this.#options.onStatus, status);
  }

  #takeEvent(event: ServerEvent): void | Promise<void> {
    if (!this.#seen.add(event.event_id)) return;
    const handled = guarded(this.#options.onEvent, event);
    if (!this.#queue) return handled;
    this.#queue.push(event);
    this.#wake();
    if (this.#queue.length < MAX_WAITING) return handled;
    const drained = new Promise<void>((resolve) => { this.#drained = resolve; });
    return Promise.all([handled, drained]).then(() => undefined);
  }

  /** Hands on what came before another tab shared its stream with this one. */
  async #catchUp(sink: Sink): Promise<void> {
    const { clientId, lastEventId, since } = this.#options;
    let from = lastEventId || since;
    if (from === undefined) return;
    for (;;) {
      const page = await this.api.events({ ...this.#options, since: from, ...clientId === undefined ? {} : { clientId } });
      if (page.truncated) sink.item({ type: 'status', status: 'gap', reason: 'retention', cursor: page.cursor }, '');
      for (const event of page.events) sink.item(event, '');
      if (!page.has_more) return;
      from = page.cursor;
    }
  }
}

function transport(options: ConnectOptions) {
  const canEventSource = typeof EventSource === 'function' && options.credential === undefined;
  const kind = options.transport ?? (canEventSource ? 'eventsource' : 'fetch');
  if (kind === 'eventsource' && options.credential !== undefined) {
    throw new TypeError('an EventSource sends no credential: use a ticket, or the transport fetch');
  }
  if (kind === 'eventsource') return eventSourceTransport;
  const fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  return fetchTransport((options.silenceSeconds ?? 45) * 1_000, fetch);
}

/** A callback that throws is a bug of the page's, and told where those are; the stream goes on. */
function guarded<T>(callback: ((value: T) => void | Promise<void>) | undefined, value: T): void | Promise<void> {
  try {
    const result = callback?.(value);
    return result instanceof Promise ? result.catch(report) : undefined;
  } catch (error) {
    report(error);
  }
}

function report(error: unknown): void {
  if (typeof reportError === 'function') reportError(error);
  else console.error(error);
}
