import { NotificationError, type ErrorKind } from './error.js';
import type { Item, Sink, State } from './stream.js';

/** What tabs say to each other. */
type Said =
  | { kind: 'item'; item: Item; place: string }
  | { kind: 'state'; state: State; place: string; error?: { kind: ErrorKind; status: number; detail: string } }
  | { kind: 'hello' };

/** A stream, as those who share it see it. */
export interface Runs { run(): Promise<void>; close(): void }

/** Whether this is a browser in which tabs can share a stream. */
export const canShare = (): boolean => typeof BroadcastChannel === 'function' && !!globalThis.navigator?.locks;

/**
 * One stream for all tabs of a browser that ask for the same: browsers allow
 * six connections to a server. The tab that holds a lock reads it and tells the
 * others; when it is closed, the next goes on where that one was. A tab that
 * takes its events more slowly than they come gets a stream of its own.
 */
export class SharedStream implements Runs {
  readonly #name: string;
  readonly #open: (sink: Sink, place: string) => Runs;
  readonly #catchUp: ((sink: Sink) => Promise<void>) | undefined;
  readonly #sink: Sink;
  /** Aborted when this tab no longer shares. */
  readonly #left = new AbortController();
  #place: string;
  #closed = false;
  #own: Runs | undefined;

  /**
   * `open` opens a stream at a place. `catchUp` hands on what was before this
   * tab came, if it wants that, for when another tab reads already.
   */
  constructor(name: string, open: (sink: Sink, place: string) => Runs, catchUp: ((sink: Sink) => Promise<void>) | undefined,
    sink: Sink, place: string) {
    this.#name = `notification-server ${name}`;
    this.#open = open;
    this.#catchUp = catchUp;
    this.#sink = sink;
    this.#place = place;
  }

  close(): void {
    this.#closed = true;
    this.#own?.close();
    this.#left.abort();
  }

  async run(): Promise<void> {
    const channel = new BroadcastChannel(this.#name);
    let failure: NotificationError | undefined;
    let leads = false;
    // Whether another tab is known to read for this one.
    let follows = false;
    let state: State = 'connecting';
    // What comes before all that was before it was handed on.
    let early: Item[] | undefined = this.#catchUp && [];
    const flush = () => {
      const waiting = early ?? [];
      early = undefined;
      for (const item of waiting) this.#take(item, this.#place);
    };
    const say = (said: Said) => channel.postMessage(said);

    channel.onmessage = ({ data }: MessageEvent<Said>) => {
      if (data.kind === 'hello') {
        if (leads) say({ kind: 'state', state, place: this.#place });
        return;
      }
      if (leads || this.#left.signal.aborted) return;
      if (data.kind === 'item') {
        if (early) early.push(data.item);
        else this.#take(data.item, data.place);
        this.#place = data.place;
        return;
      }
      if (data.error) {
        failure = new NotificationError(data.error.kind, data.error.status, data.error.detail);
        this.#left.abort();
        return;
      }
      if (!follows) {
        follows = true;
        void this.#catchUp?.(this.#sink).catch(() => {
          this.#sink.item({ type: 'status', status: 'gap', reason: 'unavailable', cursor: this.#place }, '');
        }).then(flush);
      }
      this.#place ||= data.place;
      this.#sink.state(data.state);
    };

    const lead = async () => {
      leads = true;
      // Whoever catches up goes on with that; the rest comes once more, or follows.
      if (!follows) flush();
      const stream = this.#open({
        item: (item, place) => {
          say({ kind: 'item', item, place });
          this.#place = place;
          if (early) early.push(item);
          else this.#take(item, place);
        },
        state: (now, error) => {
          state = now;
          say({ kind: 'state', state, place: this.#place });
          this.#sink.state(now, error);
        },
      }, this.#place);
      const leave = () => stream.close();
      this.#left.signal.addEventListener('abort', leave);
      try {
        await stream.run();
      } catch (error) {
        if (!(error instanceof NotificationError)) throw error;
        const { kind, status, detail } = error;
        say({ kind: 'state', state: 'closed', place: this.#place, error: { kind, status, detail } });
        throw error;
      }
    };

    try {
      say({ kind: 'hello' });
      await navigator.locks.request(this.#name, { signal: this.#left.signal }, lead).catch((error: unknown) => {
        if (!this.#left.signal.aborted) throw error;
      });
    } finally {
      leads = false;
      channel.close();
    }
    if (failure) throw failure;
    if (this.#closed) return;
    this.#own = this.#open(this.#sink, this.#place);
    await this.#own.run();
  }

  #take(item: Item, place: string): void {
    if (this.#sink.item(item, place)) this.#left.abort();
  }
}
