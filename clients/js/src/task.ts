import type { Api } from './api.js';
import type { Audience, TaskState } from './event.js';

/** What a job says of itself. What is left out stays as it was. */
export interface TaskReport {
  task_name?: string; progress?: number; step?: number; total_steps?: number; message?: string;
  state?: Exclude<TaskState, 'stalled'>; topic?: string; audience?: Audience; data?: Record<string, unknown>;
}

export interface TaskOptions {
  /** An id of your own. */
  id?: string;
  /** How many steps there are. */
  total?: number;
  topic?: string;
  audience?: Audience;
}

/**
 * Reports a task: at most one report is under way, and those that are made
 * meanwhile become one, so that a loop may call `advance` as often as it likes.
 *
 * ```ts
 * const task = api.task('Import', { total: rows.length });
 * for (const row of rows) { await load(row); task.advance(); }
 * await task.complete();
 * ```
 *
 * It goes on until `complete`, `fail` or `cancel` ends it. A report that did not
 * get through is made with the next one; the last one throws if it does not.
 */
export class TaskReporter {
  readonly id: string;
  readonly #api: Api;
  #step = 0;
  #pending: TaskReport | undefined;
  #sending: Promise<void> | undefined;

  /** @internal */
  constructor(api: Api, name: string, { id, total, topic, audience }: TaskOptions) {
    this.id = id ?? newId();
    this.#api = api;
    const first: TaskReport = { task_name: name };
    if (total !== undefined) Object.assign(first, { step: 0, total_steps: total });
    if (topic !== undefined) first.topic = topic;
    if (audience !== undefined) first.audience = audience;
    this.#report(first);
  }

  /** So many steps more are done. */
  advance(steps = 1, message?: string): void {
    this.#step += steps;
    this.update({ step: this.#step, ...message === undefined ? {} : { message } });
  }

  /** Says something else of it. */
  update(report: TaskReport): void {
    this.#step = report.step ?? this.#step;
    // The last step is not the end: that is said by itself, and may have a message.
    this.#report({ state: 'running', ...report });
  }

  complete(message?: string): Promise<void> {
    return this.#end('completed', message);
  }

  fail(message?: string): Promise<void> {
    return this.#end('failed', message);
  }

  cancel(message?: string): Promise<void> {
    return this.#end('cancelled', message);
  }

  async #end(state: 'completed' | 'failed' | 'cancelled', message?: string): Promise<void> {
    while (this.#sending) await this.#sending;
    const last: TaskReport = { ...this.#pending, state };
    if (message !== undefined) last.message = message;
    this.#pending = undefined;
    await this.#api.report(this.id, last);
  }

  #report(report: TaskReport): void {
    this.#pending = { ...this.#pending, ...report };
    this.#sending ??= this.#flush().finally(() => { this.#sending = undefined; });
  }

  async #flush(): Promise<void> {
    // What is said in one turn is one report.
    await null;
    while (this.#pending) {
      const report = this.#pending;
      this.#pending = undefined;
      try {
        await this.#api.report(this.id, report);
      } catch {
        this.#pending = { ...report, ...this.#pending as TaskReport | undefined };
        return;
      }
    }
  }
}

/** `randomUUID` is for pages over https only. */
const newId = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
