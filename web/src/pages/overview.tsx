import { useMemo } from 'react';

import { useAsked } from '../ask';
import { Plot, type Line } from '../parts/plot';
import { bytes, count, duration, Empty, Problem } from '../parts/small';

interface Retention { max_age_seconds: number | null; max_events: number | null; max_bytes: number | null }

interface Sample {
  timestamp: string; published: number; delivered: number; removed: number; connections: number;
  publish_p50_ms: number | null; publish_p99_ms: number | null; log_events: number; log_bytes: number;
}

const number = (value: number) => (Math.abs(value) >= 10 || Number.isInteger(value) ? count.format(Math.round(value)) : value.toFixed(1));
const milliseconds = (value: number) => `${value >= 10 ? Math.round(value) : value.toFixed(value >= 1 ? 1 : 2)} ms`;

/** What retention keeps, in a sentence. */
function kept({ max_age_seconds: age, max_events: events, max_bytes: size }: Retention): string {
  const bounds = [
    age !== null && `events of the last ${age >= 172_800 ? `${Math.round(age / 86_400)} days` : duration(age)}`,
    events !== null && `${count.format(events)} events`,
    size !== null && `${bytes(size)} of them`,
  ].filter((it) => it !== false);
  return bounds.length > 0 ? `Kept are at most ${bounds.join(', ')}.` : 'Everything is kept.';
}

/** What went on in the last hour. */
export default function Overview() {
  const activity = useAsked<{ sample_seconds: number; samples: Sample[]; retention: Retention }>('/v1/activity', 10);
  const drawn = useMemo(() => {
    const { samples = [], sample_seconds: seconds = 10 } = activity.value ?? {};
    const line = (label: string, unit: Line['unit'], of: (sample: Sample) => number | null): Line => ({ label, unit, values: samples.map(of) });
    return {
      times: samples.map((sample) => Date.parse(sample.timestamp) / 1_000),
      rates: [line('published/s', number, (it) => it.published / seconds), line('delivered/s', number, (it) => it.delivered / seconds)],
      latencies: [line('p50', milliseconds, (it) => it.publish_p50_ms), line('p99', milliseconds, (it) => it.publish_p99_ms)],
      connections: [line('streams', number, (it) => it.connections)],
      events: [line('events', number, (it) => it.log_events)],
      size: [line('size', bytes, (it) => it.log_bytes)],
      removed: [line('removed/s', number, (it) => it.removed / seconds)],
    };
  }, [activity.value]);
  const last = activity.value?.samples.at(-1);
  return (
    <>
      <Problem of={activity.problem} />
      {activity.value && !last && <Empty>The first sample is taken ten seconds after the start.</Empty>}
      {last && <>
        <dl className="tiles">
          <div className="card"><dt>Open streams</dt><dd>{count.format(last.connections)}</dd></div>
          <div className="card"><dt>Published/s</dt><dd>{drawn.rates[0]!.unit(last.published / 10)}</dd></div>
          <div className="card"><dt>Delivered/s</dt><dd>{drawn.rates[1]!.unit(last.delivered / 10)}</dd></div>
          <div className="card"><dt>Events in the log</dt><dd>{count.format(last.log_events)}</dd></div>
          <div className="card"><dt>Size of the log</dt><dd>{bytes(last.log_bytes)}</dd></div>
        </dl>
        <div className="plots">
          <Plot title="Published and delivered" times={drawn.times} lines={drawn.rates} />
          <Plot title="From publishing to handed out" times={drawn.times} lines={drawn.latencies} />
          <Plot title="Open streams" times={drawn.times} lines={drawn.connections} />
          <Plot title="Events in the log" times={drawn.times} lines={drawn.events} />
          <Plot title="Size of the log" times={drawn.times} lines={drawn.size} />
          <Plot title="Removed by retention" times={drawn.times} lines={drawn.removed} />
        </div>
        <p>{kept(activity.value!.retention)}</p>
        <p className="hint">The last hour, since the server was started. Monitoring that keeps more asks for <a href="/metrics">the metrics</a>.</p>
      </>}
    </>
  );
}
