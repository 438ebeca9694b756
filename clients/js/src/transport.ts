import type { Message } from './sse.js';

/** Where and as whom a stream is opened. */
export interface Opening {
  url: URL;
  headers: Record<string, string>;
  lastEventId: string;
  signal: AbortSignal;
}

/** What a transport tells while it is open. */
export interface Listener {
  open(): void;
  /** The connection was cut, and the transport comes back by itself. */
  lost(): void;
  /** If it is not done at once, nothing more is wanted before it is. */
  message(message: Message): void | Promise<void>;
  /** Where to resume, which an event without data may have moved. */
  place(lastEventId: string): void;
  retry(milliseconds: number): void;
}

/**
 * One connection, until it ends. It throws a `NotificationError` if the server
 * refuses or cannot be reached, and returns if the stream ended or was cut.
 */
export type Transport = (opening: Opening, listener: Listener) => Promise<void>;
