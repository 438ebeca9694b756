import { refusal, unreachable } from './error.js';
import type { Credential, Draft, Filter, Published, ServerEvent, Task, TaskState } from './event.js';
import { address, defaultServer, filterQuery } from './query.js';
import { TaskReporter, type TaskOptions, type TaskReport } from './task.js';

export interface ApiOptions {
  /** The server; that of the page, if left out, and outside of pages `http://127.0.0.1:8005`. */
  url?: string | URL;
  credential?: Credential;
}

/** What a notification may have besides its message. */
export type PublishOptions = Omit<Extract<Draft, { type: 'notification' }>, 'type' | 'message'>;

/** A part of the log. */
export interface Page {
  events: ServerEvent[];
  /** Where to read on. */
  cursor: string;
  has_more: boolean;
  /** Events between `since` and the first of these are gone. */
  truncated: boolean;
  narrowed_to?: string[];
}

/**
 * Asks a server. Every method throws a `NotificationError` if it refuses or
 * cannot be reached; nothing is tried twice, but `publish` of events that have
 * an `event_id` may be: the second time changes nothing.
 */
export class Api {
  readonly #url: string | URL;
  readonly #credential: Credential | undefined;

  constructor({ url, credential }: ApiOptions = {}) {
    this.#url = url ?? defaultServer();
    this.#credential = credential;
  }

  /** Publishes a notification. */
  notify(message: string, options: PublishOptions = {}): Promise<Published> {
    return this.publish({ ...options, type: 'notification', message });
  }

  /** Publishes an event, or up to 1,000, all or none. When this is done they are committed. */
  publish(event: Draft): Promise<Published>;
  publish(events: Draft[]): Promise<Published[]>;
  publish(events: Draft | Draft[]): Promise<Published | Published[]> {
    return this.request('POST', '/v1/events', { body: events });
  }

  /** A part of the log, from `since` on. */
  events(options: Filter & { since?: string; limit?: number; clientId?: string } = {}): Promise<Page> {
    const query = filterQuery(options);
    if (options.since !== undefined) query.append('since', options.since);
    if (options.limit !== undefined) query.append('limit', String(options.limit));
    if (options.clientId !== undefined) query.append('client_id', options.clientId);
    return this.request('GET', '/v1/events', { query });
  }

  /** Acknowledges events, or everything up to a cursor, as a client. */
  acknowledge(clientId: string, what: { eventIds: string[] } | { cursor: string }): Promise<{ receipts: number; cursor?: string }> {
    const body = 'cursor' in what ? what : { event_ids: what.eventIds };
    return this.request('POST', `/v1/clients/${encodeURIComponent(clientId)}/acks`, { body });
  }

  /** The tasks, the most recently updated first. */
  async tasks(options: { topics?: string[]; states?: TaskState[]; limit?: number } = {}): Promise<Task[]> {
    const query = new URLSearchParams();
    options.topics?.forEach((topic) => query.append('topic', topic));
    options.states?.forEach((state) => query.append('state', state));
    if (options.limit !== undefined) query.append('limit', String(options.limit));
    return (await this.request<{ tasks: Task[] }>('GET', '/v1/tasks', { query })).tasks;
  }

  /** Says how far a task is. */
  report(taskId: string, report: TaskReport): Promise<Published> {
    return this.request('PUT', `/v1/tasks/${encodeURIComponent(taskId)}`, { body: report });
  }

  /** A task that is yours to report of. */
  task(name: string, options: TaskOptions = {}): TaskReporter {
    return new TaskReporter(this, name, options);
  }

  /** Any door of the server: the answer's JSON, nothing if it has none. */
  async request<T>(method: string, path: string, { query, body }: { query?: URLSearchParams; body?: unknown } = {}): Promise<T> {
    let response = await this.#send(method, path, query, body);
    // What gives credentials may have a newer one.
    if (response.status === 401 && typeof this.#credential === 'function') {
      await response.body?.cancel();
      response = await this.#send(method, path, query, body);
    }
    if (!response.ok) throw await refusal(response);
    const text = await response.text();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  async #send(method: string, path: string, query: URLSearchParams | undefined, body: unknown): Promise<Response> {
    const key = typeof this.#credential === 'function' ? await this.#credential() : this.#credential;
    const headers: Record<string, string> = { accept: 'application/json' };
    if (key !== undefined) headers['authorization'] = `Bearer ${key}`;
    const init: RequestInit = { method, headers, cache: 'no-store' };
    if (body !== undefined) {
      headers['content-type'] = 'application/json';
      init.body = JSON.stringify(body);
    }
    return fetch(address(this.#url, path, query), init).catch((error: unknown) => {
      throw unreachable(error);
    });
  }
}
