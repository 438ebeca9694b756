import { useState, type FormEvent } from 'react';

import { useAsked, useDoing } from '../ask';
import { Badge, count, Copy, Empty, Outcome, Panel, Problem, Sure, Table, Time } from '../parts/small';
import { useSession } from '../session';

interface Webhook {
  id: string; owner: string; kind: 'service' | 'mcp'; url: string; filter?: { topics?: string[] }; event_type?: string; arguments?: object;
  description?: string; state: 'active' | 'paused' | 'suspended'; created_at: string; expires_at?: string; dead_letters: number;
  last_delivery_at?: string; last_error?: string; failed_since?: string; secret?: string;
}
interface Attempt { event_id: string; attempt: number; at: string; duration_ms: number; outcome: string }
interface DeadLetter { event_id: string; given_up_at: string; attempts: number; last_outcome: string }

/** Who events are posted to, and how that goes. */
export default function Webhooks() {
  const { api } = useSession();
  const webhooks = useAsked<{ webhooks: Webhook[] }>('/v1/webhooks', 5);
  const [shown, setShown] = useState('');
  const [secret, setSecret] = useState('');
  const doing = useDoing();
  const one = webhooks.value?.webhooks.find((it) => it.id === shown);
  const create = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const topics = String(data.get('topics')).split(/[\s,]+/).filter(Boolean);
    const description = String(data.get('description')).trim();
    const body = { url: String(data.get('url')), ...topics.length ? { topics } : {}, ...description ? { description } : {} };
    await doing.run(async () => {
      const made = await api.request<Webhook>('POST', '/v1/webhooks', { body });
      setSecret(made.secret ?? '');
      form.reset();
      webhooks.again();
      return 'It was created.';
    });
  };
  return (
    <>
      <Problem of={webhooks.problem} />
      {webhooks.value?.webhooks.length === 0 ? <Empty>There are none.</Empty> : (
        <Table label="Webhooks" heads={['To', 'What', 'State', 'Delivered', 'Last error', 'Dead letters', 'Owner', '']}>
          {webhooks.value?.webhooks.map((it) => (
            <tr key={it.id}>
              <td title={it.id}>{it.description && <><strong>{it.description}</strong><br /></>}<span className="url">{it.url}</span></td>
              <td>{it.event_type ?? it.filter?.topics?.join(', ') ?? 'all'}{it.kind === 'mcp' && <span className="hint"> MCP</span>}</td>
              <td><Badge kind={it.state} />{it.failed_since && <span className="hint"> failing since <Time of={it.failed_since} /></span>}</td>
              <td><Time of={it.last_delivery_at} /></td>
              <td>{it.last_error?.replaceAll('_', ' ')}</td>
              <td className={it.dead_letters ? 'bad' : ''}>{count.format(it.dead_letters)}</td>
              <td>{it.owner}</td>
              <td><button type="button" onClick={() => setShown(it.id)}>Look</button></td>
            </tr>
          ))}
        </Table>
      )}
      <h2>New</h2>
      <form className="filters" onSubmit={create} aria-label="A new webhook">
        <label className="wide">Address <input name="url" type="url" required placeholder="https://" /></label>
        <label>Topics <input name="topics" placeholder="ops/**, billing" /></label>
        <label>Description <input name="description" /></label>
        <button disabled={doing.busy}>Create</button>
      </form>
      <Outcome doing={doing} />
      {secret && <p className="card bar"><span>Its secret, which is shown this once: <code>{secret}</code></span> <Copy text={secret}>Copy</Copy></p>}
      {one && <WebhookPanel webhook={one} onClose={() => setShown('')} onChange={webhooks.again} />}
    </>
  );
}

function WebhookPanel({ webhook, onClose, onChange }: { webhook: Webhook; onClose: () => void; onChange: () => void }) {
  const { api } = useSession();
  const base = `/v1/webhooks/${webhook.id}`;
  const attempts = useAsked<{ attempts: Attempt[] }>(`${base}/attempts`, 2);
  const letters = useAsked<{ dead_letters: DeadLetter[] }>(`${base}/dead-letters`, 5);
  const doing = useDoing();
  const run = (done: string, ask: () => Promise<unknown>) => doing.run(async () => {
    await ask();
    for (const again of [onChange, attempts.again, letters.again]) again();
    return done;
  });
  const isActive = webhook.state === 'active';
  const redeliver = (body: object) => run('They are sent again.', () => api.request('POST', `${base}/dead-letters/redeliver`, { body }));
  return (
    <Panel title={webhook.description ?? webhook.url} onClose={onClose}>
      <p><Badge kind={webhook.state} /> <span className="url">{webhook.url}</span></p>
      <div className="bar">
        <button type="button" onClick={() => run('It was tested: see the newest attempt.', () => api.request('POST', `${base}/test`))}>Test</button>
        <button type="button" onClick={() => run(isActive ? 'It is paused.' : 'It goes on where it was.', () => api.request('PATCH', base, { body: { paused: isActive } }))}>{isActive ? 'Pause' : 'Go on'}</button>
        <Sure onSure={() => run('It is deleted.', () => api.request('DELETE', base)).then((done) => done && onClose())}>Delete</Sure>
      </div>
      <Outcome doing={doing} />
      <h3>Attempts</h3>
      <Problem of={attempts.problem} />
      {attempts.value?.attempts.length === 0 ? <Empty>None since the server was started.</Empty> : <Timeline attempts={attempts.value?.attempts ?? []} />}
      <h3>Dead letters</h3>
      <Problem of={letters.problem} />
      {letters.value?.dead_letters.length === 0 ? <Empty>None.</Empty> : <>
        <button type="button" onClick={() => redeliver({})}>Send all again</button>
        <Table label="Dead letters" heads={['Event', 'Given up', 'Attempts', 'Why', '']}>
          {letters.value?.dead_letters.map((it) => (
            <tr key={it.event_id}>
              <td><code>{it.event_id}</code></td>
              <td><Time of={it.given_up_at} /></td>
              <td>{it.attempts}</td>
              <td>{it.last_outcome.replaceAll('_', ' ')}</td>
              <td><button type="button" onClick={() => redeliver({ event_ids: [it.event_id] })}>Send again</button></td>
            </tr>
          ))}
        </Table>
      </>}
    </Panel>
  );
}

/** Attempts, the newest first: each a line as long as it took. */
function Timeline({ attempts }: { attempts: Attempt[] }) {
  const newest = [...attempts].sort((a, b) => b.at.localeCompare(a.at));
  const longest = Math.max(...newest.map((it) => it.duration_ms), 1);
  return (
    <ol className="timeline">
      {newest.map((it) => (
        <li key={`${it.event_id} ${it.attempt} ${it.at}`} data-kind={it.outcome === 'delivered' ? 'delivered' : 'failed'}>
          <Time of={it.at} />
          <meter min={0} max={longest} value={it.duration_ms} aria-label={`${it.duration_ms} ms`} />
          <span>{it.duration_ms} ms</span>
          <Badge kind={it.outcome} />
          <span className="hint">{it.attempt > 1 && `attempt ${it.attempt} · `}<code title={it.event_id}>{it.event_id.slice(-8)}</code></span>
        </li>
      ))}
    </ol>
  );
}
