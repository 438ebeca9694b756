/**
 * Hooks for React. Components that ask for the same share one connection, which
 * is open as long as one of them is there.
 *
 * @module
 */
import { useEffect, useRef, useState } from 'react';

import { connect, type ConnectOptions, type Connection, type State } from './connect.js';
import type { NotificationError } from './error.js';
import { isTaskOver, type NotificationEvent, type ProgressEvent, type ServerEvent, type Status } from './event.js';
import { address, defaultServer, streamQuery } from './query.js';

/** What the hooks take: the callbacks are theirs. */
export type HookOptions = Omit<
  ConnectOptions, 'signal' | 'onEvent' | 'onStatus' | 'onGap' | 'onStateChange' | 'onError' | 'sleep' | 'fetch'>;

/** Gets what comes over a connection. */
export interface Listener {
  onEvent?: (event: ServerEvent) => void;
  onStatus?: (status: Status) => void;
}

export interface ConnectionState {
  connection: Connection | undefined;
  state: State;
  /** Why it is closed, if the server refused. */
  error: NotificationError | undefined;
}

/** A connection that is open while the component is there, and what comes over it. */
export function useConnection(options: HookOptions = {}, listener: Listener = {}): ConnectionState {
  const key = keyOf(options);
  // The newest, without opening anything again.
  const newest = useRef(listener);
  newest.current = listener;
  const [state, setState] = useState<ConnectionState>({ connection: undefined, state: 'connecting', error: undefined });
  useEffect(() => {
    const shared = acquire(key, options);
    const user: User = {
      onEvent: (event) => newest.current.onEvent?.(event),
      onStatus: (status) => newest.current.onStatus?.(status),
      onState: setState,
    };
    shared.users.add(user);
    setState(shared.now);
    return () => release(key, shared, user);
    // The key stands for the options.
  }, [key]); // eslint-disable-line
  return state;
}

/** The newest notifications, newest first; `events` of your own, with `types`. */
export function useNotifications<E extends ServerEvent = NotificationEvent>(
  { limit = 100, ...options }: HookOptions & { limit?: number } = {},
): ConnectionState & { notifications: E[]; gaps: number; clear: () => void } {
  const [notifications, setNotifications] = useState<E[]>([]);
  const [gaps, setGaps] = useState(0);
  const connection = useConnection({ types: ['notification'], ...options }, {
    onEvent: (event) => setNotifications((all) => [event as E, ...all].slice(0, limit)),
    onStatus: (status) => { if (status.status === 'gap') setGaps((gaps) => gaps + 1); },
  });
  return { ...connection, notifications, gaps, clear: () => setNotifications([]) };
}

/** The tasks that go on, and those that ended while this was there; the newest of each. */
export function useTasks(
  { limit = 100, ...options }: HookOptions & { limit?: number } = {},
): ConnectionState & { tasks: ProgressEvent[] } {
  const [tasks, setTasks] = useState<ProgressEvent[]>([]);
  const connection = useConnection({ snapshot: true, ...options, types: ['progress'] }, {
    onEvent: (event) => {
      if (event.type === 'progress') setTasks((tasks) => withTask(tasks, event, limit));
    },
  });
  return { ...connection, tasks };
}

/** In the order in which they began; when there are too many, those that ended go first. */
function withTask(tasks: ProgressEvent[], event: ProgressEvent, limit: number): ProgressEvent[] {
  const at = tasks.findIndex((task) => task.task_id === event.task_id);
  if (at >= 0) return tasks.with(at, event);
  const all = [...tasks, event];
  if (all.length <= limit) return all;
  const over = all.findIndex((task) => isTaskOver(task.state));
  return all.toSpliced(Math.max(over, 0), 1);
}

interface User extends Required<Listener> {
  onState: (state: ConnectionState) => void;
}

interface Shared {
  now: ConnectionState;
  users: Set<User>;
}

const open = new Map<string, Shared>();

function acquire(key: string, options: HookOptions): Shared {
  const there = open.get(key);
  if (there) return there;
  const shared: Shared = { now: { connection: undefined, state: 'connecting', error: undefined }, users: new Set() };
  const become = (change: Partial<ConnectionState>) => {
    shared.now = { ...shared.now, ...change };
    for (const user of shared.users) user.onState(shared.now);
  };
  shared.now.connection = connect({
    ...options,
    onEvent: (event) => { for (const user of shared.users) user.onEvent(event); },
    onStatus: (status) => { for (const user of shared.users) user.onStatus(status); },
    onStateChange: (state) => become({ state }),
    onError: (error) => become({ error }),
  });
  open.set(key, shared);
  return shared;
}

function release(key: string, shared: Shared, user: User): void {
  shared.users.delete(user);
  // React's strict mode mounts twice; a connection outlives the moment between.
  setTimeout(() => {
    if (shared.users.size > 0 || open.get(key) !== shared) return;
    open.delete(key);
    shared.now.connection?.close();
  });
}

/** Names for what gets credentials, which are the same if they are the same function. */
const functions = new WeakMap<object, number>();
let named = 0;

function keyOf({ url, credential, ticket, lastEventId, transport, shared, silenceSeconds, ...stream }: HookOptions): string {
  const named = [credential, ticket].map((it) => (typeof it === 'function' ? nameOf(it) : it ?? null));
  const server = address(url ?? defaultServer(), '/', streamQuery(stream)).href;
  return JSON.stringify([server, ...named, lastEventId, transport, shared, silenceSeconds]);
}

function nameOf(it: object): number {
  const name = functions.get(it) ?? (named += 1);
  functions.set(it, name);
  return name;
}
