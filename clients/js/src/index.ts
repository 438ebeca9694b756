/**
 * A client of a notification server.
 *
 * - {@link connect} receives: an async iterator, or callbacks.
 * - {@link Api} publishes, acknowledges, and asks.
 *
 * `sse.ts` reads the wire, `transport*.ts` open it, `connection.ts` keeps it
 * open and loses nothing, `shared.ts` has one of them for all tabs of a browser.
 *
 * @module
 */
export { Api, type ApiOptions, type PublishOptions } from './api.js';
export { connect, type ConnectOptions, type Connection, type State } from './connect.js';
export { NotificationError, type ErrorKind, type FieldError } from './error.js';
export { isTaskOver } from './event.js';
export type {
  ApplicationEvent, Audience, Closing, Conflated, Connected, Credential, CredentialExpiring, Draft, Filter, Gap,
  NotificationEvent, Paused, ProgressEvent, Published, ServerEvent, SnapshotComplete, Status, Task, TaskState,
  Unauthorized, Unreadable,
} from './event.js';
export { TaskReporter, type TaskOptions, type TaskReport } from './task.js';
