import type { Filter } from './event.js';

/** What a stream can be asked for. */
export interface StreamOptions extends Filter {
  /** Also events for this client. */
  clientId?: string;
  /** The server keeps this client's place. */
  durable?: boolean;
  /** What moves the place of a durable client: delivery (`auto`), or `acknowledge` (`manual`). */
  ack?: 'auto' | 'manual';
  /** Where to begin: a duration (`10m`), an RFC 3339 time, a cursor, or `all`. */
  since?: string;
  /** First the newest state of tasks and of each collapse key. */
  snapshot?: boolean;
  /** At most so many events a second. */
  maxRate?: number;
}

/** The parameters of a filter. */
export function filterQuery(filter: Filter, query = new URLSearchParams()): URLSearchParams {
  const all = (name: string, values: readonly (string | number)[] | undefined) =>
    values?.forEach((value) => query.append(name, String(value)));
  all('topic', filter.topics);
  all('type', filter.types);
  all('name', filter.names);
  if (filter.minPriority !== undefined) query.append('min_priority', String(filter.minPriority));
  all('tag', filter.tags);
  return query;
}

/** The parameters of a stream; with a ticket, which has its filter, only the others. */
export function streamQuery(options: StreamOptions, ticket?: string): URLSearchParams {
  const query = ticket === undefined ? filterQuery(options) : new URLSearchParams({ ticket });
  if (options.clientId !== undefined && ticket === undefined) query.append('client_id', options.clientId);
  if (options.durable) query.append('durable', 'true');
  if (options.ack !== undefined) query.append('ack', options.ack);
  if (options.since !== undefined) query.append('since', options.since);
  if (options.snapshot) query.append('snapshot', 'true');
  if (options.maxRate !== undefined) query.append('max_rate', String(options.maxRate));
  return query;
}

/** The address of a door below the server's, which may itself be below a path; `path` may have a query. */
export function address(server: string | URL, path: string, query?: URLSearchParams): URL {
  const url = new URL(server);
  const [pathname, search] = path.split('?', 2);
  url.pathname = url.pathname.replace(/\/$/, '') + pathname;
  url.search = query?.toString() ?? search ?? '';
  url.hash = '';
  return url;
}

/** The server of this page; elsewhere the one on this machine. */
export const defaultServer = (): string =>
  globalThis.location?.origin?.startsWith('http') ? globalThis.location.origin : 'http://127.0.0.1:8005';
