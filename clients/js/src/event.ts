/** What every event may have. */
interface Common {
  event_id: string;
  topic: string;
  /** RFC 3339, UTC. */
  timestamp: string;
  title?: string;
  /** 1 (min) to 5 (urgent); 3 if it is not there. */
  priority?: number;
  tags?: string[];
  data?: Record<string, unknown>;
  expires_at?: string;
  collapse_key?: string;
  require_ack?: boolean;
  audience?: Audience;
}

export interface NotificationEvent extends Common {
  type: 'notification';
  notification_id: string;
  notification_type: 'info' | 'warning' | 'error' | 'success';
  message: string;
}

export type TaskState = 'running' | 'stalled' | 'completed' | 'failed' | 'cancelled';

export interface ProgressEvent extends Common {
  type: 'progress';
  task_id: string;
  task_name: string;
  /** Percent; not there where the total is unknown. */
  progress?: number;
  step?: number;
  total_steps?: number;
  message: string;
  state: TaskState;
  started_at: string;
}

/** An event of an application's own. */
export interface ApplicationEvent extends Common {
  type: 'event';
  /** Such as `incident.created`. */
  name: string;
}

export type ServerEvent = NotificationEvent | ProgressEvent | ApplicationEvent;

export interface Connected {
  type: 'status'; status: 'connected'; connection_id: string; client_count: number; timestamp: string;
  /** The topics that are left of those asked for, where one may not see all. */
  narrowed_to?: string[];
}
/**
 * Events before `cursor` may be missing. `unavailable` is said by this client:
 * what another tab has read before could not be read once more.
 */
export interface Gap { type: 'status'; status: 'gap'; cursor: string; reason: 'retention' | 'epoch' | 'unavailable' }
export interface SnapshotComplete { type: 'status'; status: 'snapshot_complete'; events: number }
/** So many events were not sent, because newer ones took their place. */
export interface Conflated { type: 'status'; status: 'conflated'; events: number }
/** Nothing more comes before something is acknowledged. */
export interface Paused { type: 'status'; status: 'paused'; max_unacknowledged: number }
export interface CredentialExpiring { type: 'status'; status: 'credential_expiring'; expires_at: string }
export interface Unauthorized { type: 'status'; status: 'unauthorized'; reason: string }
export interface Closing { type: 'status'; status: 'closing' }
/** Said by this client: an event came that is no JSON object with a `type`. */
export interface Unreadable { type: 'status'; status: 'unreadable'; data: string }

/** Is about the connection, and not in the log. */
export type Status =
  | Connected | Gap | SnapshotComplete | Conflated | Paused | CredentialExpiring | Unauthorized | Closing | Unreadable;

/** Who an event is for, and nobody else. */
export interface Audience { clients?: string[]; groups?: string[] }

/** What is published: one of the three types, without what the server adds. */
export type Draft = {
  event_id?: string; topic?: string; audience?: Audience; priority?: number | string; title?: string; tags?: string[];
  data?: Record<string, unknown>; expires_in?: number; expires_at?: string; collapse_key?: string; require_ack?: boolean;
} & (
  | { type: 'notification'; message: string; notification_type?: NotificationEvent['notification_type'] }
  | { type: 'event'; name: string }
  | {
    type: 'progress'; task_id: string; task_name: string; progress?: number; step?: number; total_steps?: number;
    message?: string; state?: TaskState;
  }
);

/** The answer to a publication, which is committed. */
export interface Published {
  event_id: string; cursor: string; timestamp: string;
  /** How many open streams it was for. */
  subscribers: number;
  /** How many durable clients it was for that are not connected. */
  clients_away: number;
  duplicate?: boolean;
}

export interface Task {
  task_id: string; task_name: string; state: TaskState; progress?: number; step?: number; total_steps?: number;
  message: string; topic: string; started_at?: string; updated_at: string; cursor: string; event_id: string;
}

/** Which events: alternatives of one kind, all kinds together. */
export interface Filter {
  /** Patterns: `*` is one segment, a final `**` any rest. */
  topics?: string[];
  types?: ServerEvent['type'][];
  names?: string[];
  minPriority?: number;
  tags?: string[];
}

/**
 * A key or token; or what gets one, and is asked again when the last one is no
 * longer good.
 */
export type Credential = string | (() => string | Promise<string>);

/** Whether a task has ended. */
export const isTaskOver = (state: TaskState): boolean =>
  state === 'completed' || state === 'failed' || state === 'cancelled';
