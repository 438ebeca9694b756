import { isTaskOver, type ProgressEvent, type Task } from '@notification-server/client';
import { useTasks } from '@notification-server/client/react';
import { useEffect, useState } from 'react';

import { useAsked, useDoing } from '../ask';
import { Badge, duration, Empty, Outcome, Problem, Table, Time } from '../parts/small';
import { useSession } from '../session';

type Shown = Pick<Task, 'task_id' | 'task_name' | 'state' | 'message' | 'topic'>
  & Partial<Pick<Task, 'progress' | 'step' | 'total_steps' | 'started_at' | 'updated_at'>>;

/** Jobs as they go on, and what became of those that are over. */
export default function Tasks() {
  const { api, credential, may } = useSession();
  const { tasks, error } = useTasks({ topics: ['**'], limit: 500, ...credential === undefined ? {} : { credential } });
  const known = useAsked<{ tasks: Task[]; has_more: boolean }>('/v1/tasks?limit=500', 10);
  const doing = useDoing();
  useTicks();

  const all = new Map<string, Shown>();
  for (const task of known.value?.tasks ?? []) all.set(task.task_id, task);
  for (const task of tasks) all.set(task.task_id, newer(all.get(task.task_id), task));
  const [over, running] = [[...all.values()].filter((t) => isTaskOver(t.state)), [...all.values()].filter((t) => !isTaskOver(t.state))];
  over.sort((a, b) => (b.updated_at ?? '').localeCompare(a.updated_at ?? ''));

  const cancel = (task: Shown) => doing.run(async () => {
    await api.request('POST', `/v1/tasks/${encodeURIComponent(task.task_id)}/cancel`);
    return `${task.task_name} was told to end.`;
  });
  return (
    <>
      <Problem of={error?.message ?? known.problem} />
      <Outcome doing={doing} />
      <h2>Going on</h2>
      {running.length === 0 && <Empty>Nothing goes on. Try <code>notification-server run --name Build -- make all</code>.</Empty>}
      <ul className="tasks">
        {running.map((task) => (
          <li key={task.task_id} className="card" data-state={task.state}>
            <div className="bar">
              <strong>{task.task_name}</strong>
              {task.state === 'stalled' && <Badge kind="stalled" />}
              <span className="hint">{task.topic}</span>
              <span className="grow" />
              {(may('publish') || may('tasks')) && <button type="button" className="quiet" onClick={() => cancel(task)}>Cancel</button>}
            </div>
            <progress aria-label={task.task_name} max={100} {...task.progress === undefined ? {} : { value: task.progress }} />
            <div className="bar hint">
              <span>{task.message}</span><span className="grow" /><span>{pace(task)}</span>
            </div>
          </li>
        ))}
      </ul>
      <h2>Over</h2>
      {over.length === 0 ? <Empty>Nothing is over yet.</Empty> : (
        <Table label="Tasks that are over" heads={['Task', 'State', 'Message', 'Topic', 'Took', 'Ended']}>
          {over.slice(0, 200).map((task) => (
            <tr key={task.task_id}>
              <td title={task.task_id}>{task.task_name}</td>
              <td><Badge kind={task.state} /></td>
              <td>{task.message}</td>
              <td>{task.topic}</td>
              <td>{task.started_at && task.updated_at ? duration((Date.parse(task.updated_at) - Date.parse(task.started_at)) / 1_000) : '–'}</td>
              <td><Time of={task.updated_at} /></td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

/** The event, unless what the server said when asked is newer. */
function newer(before: Shown | undefined, event: ProgressEvent): Shown {
  const shown = { ...event, updated_at: event.timestamp };
  return before?.updated_at && before.updated_at > shown.updated_at ? before : shown;
}

/** How fast, and how long still. */
function pace(task: Shown): string {
  const percent = task.progress === undefined ? '' : `${Math.floor(task.progress)} %`;
  const elapsed = task.started_at ? (Date.now() - Date.parse(task.started_at)) / 1_000 : 0;
  const reported = task.started_at && task.updated_at ? (Date.parse(task.updated_at) - Date.parse(task.started_at)) / 1_000 : 0;
  if (task.state === 'stalled') return `${percent} · has said nothing since ${new Date(task.updated_at ?? 0).toLocaleTimeString()}`;
  const parts = [percent];
  if (task.step && task.step > 1 && reported > 0) parts.push(`${rate(task.step / reported)} steps/s`);
  if (task.progress && task.progress < 100 && reported > 1) {
    const whole = reported / (task.progress / 100);
    parts.push(`about ${duration(Math.max(whole - elapsed, 0))} left`);
  } else if (elapsed > 0) {
    parts.push(duration(elapsed));
  }
  return parts.filter(Boolean).join(' · ');
}

const rate = (value: number) => (value >= 10 ? Math.round(value) : value.toFixed(1));

/** Draws again every second: time passes. */
function useTicks(): void {
  const [, setTicks] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTicks((ticks) => ticks + 1), 1_000);
    return () => clearInterval(timer);
  }, []);
}
