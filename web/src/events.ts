import { isTaskOver, type ServerEvent, type Status } from '@notification-server/client';

/** A row of the live page: an event, or what the connection has to say. */
export type Row = { at: number } & ({ event: ServerEvent; said?: undefined } | { said: string; event?: undefined });

/** How many are kept; older ones are in the server's log. */
export const MAX_ROWS = 10_000;

/**
 * What has come, in order. While it is held, what comes waits and is counted.
 * Listeners are told once for each frame of the screen, however much comes.
 */
export class EventStore {
  #rows: Row[] = [];
  #held: Row[] = [];
  #isHeld = false;
  #listeners = new Set<() => void>();
  #isDue = false;
  #snapshot: Snapshot = { rows: [], held: 0, isHeld: false };
  #nextAt = 0;
  /** Events that were here and made room for newer ones. */
  dropped = 0;

  add(event: ServerEvent): void {
    this.#push({ at: this.#nextAt++, event });
  }

  say(said: string): void {
    this.#push({ at: this.#nextAt++, said });
  }

  hold(isHeld: boolean): void {
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    if (!isHeld) {
      this.#keep(this.#held);
      this.#held = [];
    }
    this.#due();
  }

  clear(): void {
    this.#rows = [];
    this.#held = [];
    this.dropped = 0;
    this.#due();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  snapshot = (): Snapshot => this.#snapshot;

  #push(row: Row): void {
    if (this.#isHeld) {
      this.#held.push(row);
      if (this.#held.length > MAX_ROWS) {
        this.#held.splice(0, this.#held.length - MAX_ROWS);
        this.dropped += 1;
      }
    } else {
      this.#keep([row]);
    }
    this.#due();
  }

  #keep(rows: Row[]): void {
    for (const row of rows) this.#rows.push(row);
    const over = this.#rows.length - MAX_ROWS;
    // Some at a time: to take them from the front costs as much as there are.
    if (over < 1_000 && this.#rows.length < MAX_ROWS + 1_000) return;
    this.#rows = this.#rows.slice(over);
    this.dropped += over;
  }

  #due(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    const tell = () => {
      this.#isDue = false;
      this.#snapshot = { rows: this.#rows.slice(-MAX_ROWS), held: this.#held.length, isHeld: this.#isHeld };
      for (const listener of this.#listeners) listener();
    };
    // A page that is not seen has no frames.
    if (document.hidden) setTimeout(tell, 250);
    else requestAnimationFrame(tell);
  }
}

export interface Snapshot { rows: Row[]; held: number; isHeld: boolean }

const GAPS = {
  retention: 'Gap: events before this are no longer in the log.',
  epoch: 'Gap: the log is another one than before. Events may be missing or come again.',
  unavailable: 'Gap: what was before this could not be read.',
};

/** What a status means to people; nothing, if it goes without saying. */
export function sayStatus(status: Status): string | undefined {
  switch (status.status) {
    case 'gap':
      return GAPS[status.reason];
    case 'conflated': return `${status.events} events were not sent, because newer ones took their place.`;
    case 'paused': return 'Paused: nothing more comes before something is acknowledged.';
    case 'unauthorized': return `The server ended this stream: ${status.reason}`;
    case 'closing': return 'The server is stopping.';
    case 'unreadable': return 'An event came that cannot be read.';
    default: return undefined;
  }
}

export interface EventFilter { topic: string; type: string; minPriority: number; tag: string; text: string }

export const ALL: EventFilter = { topic: '', type: '', minPriority: 1, tag: '', text: '' };

/** Whether an event is one of those that are looked for. */
export function matches(filter: EventFilter, event: ServerEvent): boolean {
  return (!filter.topic || isTopic(filter.topic, event.topic))
    && (!filter.type || kindOf(event) === filter.type || event.type === filter.type)
    && (event.priority ?? 3) >= filter.minPriority
    && (!filter.tag || !!event.tags?.includes(filter.tag))
    && (!filter.text || JSON.stringify(event).toLowerCase().includes(filter.text.toLowerCase()));
}

/** Patterns as the server has them: `*` is one segment, a final `**` any rest. */
export function isTopic(pattern: string, topic: string): boolean {
  const [wanted, is] = [pattern.split('/'), topic.split('/')];
  for (const [i, segment] of wanted.entries()) {
    if (segment === '**' && i === wanted.length - 1) return i < is.length || i === 0;
    if (i >= is.length || (segment !== '*' && segment !== is[i])) return false;
  }
  return wanted.length === is.length;
}

/** What colours an event. */
export function kindOf(event: ServerEvent): string {
  if (event.type === 'notification') return event.notification_type;
  if (event.type === 'progress') return isTaskOver(event.state) || event.state === 'stalled' ? event.state : 'progress';
  return 'event';
}

/** An event in a line. */
export function summary(event: ServerEvent): string {
  if (event.type === 'notification') return event.title ? `${event.title}: ${event.message}` : event.message;
  if (event.type === 'progress') {
    const percent = event.progress === undefined ? '' : ` ${Math.round(event.progress)} %`;
    return `${event.task_name}${percent}: ${event.message}`;
  }
  return event.data ? `${event.name} ${JSON.stringify(event.data)}` : event.name;
}
