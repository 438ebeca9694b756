import type { Published } from '@notification-server/client';
import { useState, type FormEvent } from 'react';

import { useAsked, useDoing } from '../ask';
import { initial, SchemaForm, type Schema } from '../parts/schema-form';
import { Badge, Empty, Outcome, Panel, Problem, Table } from '../parts/small';
import { useSession } from '../session';

interface EventType {
  name: string; origin: string; revision: number; description?: string; topic?: string; payload_schema?: Schema;
  arguments?: Record<string, string>; delivery: string[];
}

/** What events of one’s own are, and forms to publish them. */
export default function EventTypes() {
  const { may } = useSession();
  const types = useAsked<{ event_types: EventType[] }>('/v1/event-types', 10);
  const [shown, setShown] = useState('');
  const one = types.value?.event_types.find((it) => it.name === shown);
  return (
    <>
      <Problem of={types.problem} />
      {types.value?.event_types.length === 0 && <Empty>None are declared.</Empty>}
      <Table label="Event types" heads={['Name', 'What happened', 'Topic', 'Chosen by', 'Declared', '']}>
        {types.value?.event_types.map((it) => (
          <tr key={it.name}>
            <td><code>{it.name}</code></td>
            <td>{it.description}</td>
            <td>{it.topic ?? '–'}</td>
            <td>{Object.entries(it.arguments ?? {}).map(([field, how]) => `${field} (${how})`).join(', ') || '–'}</td>
            <td><Badge kind={it.origin} /></td>
            <td><button type="button" onClick={() => setShown(it.name)}>{it.origin !== 'built_in' && may('publish') ? 'Publish' : 'Look'}</button></td>
          </tr>
        ))}
      </Table>
      {one && <TypePanel key={one.name} type={one} onClose={() => setShown('')} />}
    </>
  );
}

function TypePanel({ type, onClose }: { type: EventType; onClose: () => void }) {
  const { api, may } = useSession();
  const schema = type.payload_schema ?? {};
  const [data, setData] = useState<unknown>(() => initial(schema));
  const doing = useDoing();
  const publish = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const topic = String(new FormData(event.currentTarget).get('topic')).trim();
    const body = { type: 'event', name: type.name, ...topic ? { topic } : {}, ...data === undefined ? {} : { data } };
    void doing.run(async () => {
      const { subscribers } = await api.request<Published>('POST', '/v1/events', { body });
      return `It was published, to ${subscribers} open streams.`;
    });
  };
  return (
    <Panel title={type.name} onClose={onClose}>
      <p>{type.description}</p>
      {type.origin !== 'built_in' && may('publish') && (
        <form className="form" onSubmit={publish} aria-label={`Publish ${type.name}`}>
          <SchemaForm schema={schema} value={data} onChange={setData} />
          <label>Topic <input name="topic" placeholder={type.topic ?? 'default'} /></label>
          <button disabled={doing.busy}>Publish</button>
          <Outcome doing={doing} />
        </form>
      )}
      <h3>Payload</h3>
      <pre className="json" tabIndex={0} aria-label="The schema of its data">{JSON.stringify(schema, null, 2)}</pre>
    </Panel>
  );
}
