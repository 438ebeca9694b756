/** One event of a `text/event-stream` that has data. */
export interface Message {
  data: string;
  /** Where to resume after it; empty if that is not known. */
  lastEventId: string;
}

/** Reads a `text/event-stream` as it comes (WHATWG HTML, section 9.2). */
export class SseParser {
  /** Where to resume: the newest id, also of an event without data. */
  lastEventId: string;
  /** How long to wait before coming back, in ms, if the server said. */
  retry: number | undefined;

  #decoder = new TextDecoder();
  #rest = '';
  #afterCr = false;
  #data: string[] = [];
  #id: string | undefined;

  constructor(lastEventId = '') {
    this.lastEventId = lastEventId;
  }

  /** The messages that `bytes` complete. */
  *push(bytes: Uint8Array): Generator<Message> {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === '') return;
    // An LF that belongs to the CR before it.
    if (this.#afterCr && text.startsWith('\n')) text = text.slice(1);
    this.#afterCr = text === '' ? false : text.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const message = this.#take(line);
      if (message) yield message;
    }
  }

  #take(line: string): Message | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^\d{1,9}$/.test(value)) this.retry = Number(value);
    return undefined;
  }

  #dispatch(): Message | undefined {
    this.lastEventId = this.#id ?? this.lastEventId;
    this.#id = undefined;
    const data = this.#data.join('\n');
    this.#data = [];
    return data === '' ? undefined : { data, lastEventId: this.lastEventId };
  }
}
