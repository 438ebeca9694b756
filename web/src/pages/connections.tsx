import { useState, type FormEvent } from 'react';

import { useAsked, useDoing } from '../ask';
import { bytes, count, Empty, Outcome, Problem, Sure, Table, Time } from '../parts/small';
import { useSession } from '../session';

interface Connection {
  connection_id: string; principal: string; client_id?: string; transport: string; filter: { topics?: string[] };
  durable?: string; since: string; sent: number; conflated: number; lag: number; bytes_pending?: number; remote_address?: string;
}
interface Client { client_id: string; ack: string; cursor: string; connections: string[]; groups: string[]; seen_at: string }

/** Who is connected, the clients whose place is kept, and groups. */
export default function Connections() {
  const { api, isAdmin } = useSession();
  const connections = useAsked<{ connections: Connection[] }>('/v1/connections', 2);
  const clients = useAsked<{ clients: Client[] }>('/v1/clients', 5);
  const doing = useDoing();
  const ask = (method: string, path: string, done: string, then: () => void) => doing.run(async () => {
    await api.request(method, path);
    then();
    return done;
  });
  const open = connections.value?.connections;
  return (
    <>
      <Problem of={connections.problem} />
      <Outcome doing={doing} />
      <h2>Open streams {open && <span className="hint">{count.format(open.length)}</span>}</h2>
      {open && open.length > 0 && (
        <Table label="Open streams" heads={['Who', 'Client', 'By', 'Topics', 'Since', 'Sent', 'Lag', 'Unconfirmed', 'From', '']}>
          {open.slice(0, 500).map((it) => (
            <tr key={it.connection_id}>
              <td title={it.connection_id}>{it.principal}</td>
              <td>{it.client_id ?? '–'}{it.durable && <span className="hint"> durable</span>}</td>
              <td>{it.transport}</td>
              <td>{it.filter.topics?.join(', ') ?? 'all'}</td>
              <td><Time of={it.since} /></td>
              <td>{count.format(it.sent)}{it.conflated > 0 && <span className="hint"> ({count.format(it.conflated)} conflated)</span>}</td>
              <td className={it.lag > 1_000 ? 'bad' : ''}>{count.format(it.lag)}</td>
              <td>{it.bytes_pending === undefined ? '–' : bytes(it.bytes_pending)}</td>
              <td>{it.remote_address ?? '–'}</td>
              <td>{isAdmin && <Sure onSure={() => ask('DELETE', `/v1/connections/${it.connection_id}`, 'It was told to end.', connections.again)}>Close</Sure>}</td>
            </tr>
          ))}
        </Table>
      )}
      {open && open.length > 500 && <p className="hint">{count.format(open.length - 500)} more are not shown.</p>}

      <h2>Durable clients</h2>
      <Problem of={clients.problem} />
      {clients.value?.clients.length === 0 ? <Empty>None. A client says <code>?client_id=alice&durable=true</code>.</Empty> : (
        <Table label="Durable clients" heads={['Client', 'Acknowledges', 'Place', 'Streams', 'Groups', 'Seen', '']}>
          {clients.value?.clients.map((it) => (
            <tr key={it.client_id}>
              <td>{it.client_id}</td>
              <td>{it.ack === 'manual' ? 'by itself' : 'as it is delivered'}</td>
              <td><Behind client={it.client_id} cursor={it.cursor} /></td>
              <td>{it.connections.length || 'away'}</td>
              <td>{it.groups.join(', ')}</td>
              <td><Time of={it.seen_at} /></td>
              <td>{isAdmin && <Sure onSure={() => ask('DELETE', `/v1/clients/${encodeURIComponent(it.client_id)}`, `${it.client_id} is forgotten.`, clients.again)}>Forget</Sure>}</td>
            </tr>
          ))}
        </Table>
      )}
      <Groups />
    </>
  );
}

/** How far a client is, on request: counting reads the log. */
function Behind({ client, cursor }: { client: string; cursor: string }) {
  const [isAsked, setIsAsked] = useState(false);
  const one = useAsked<{ unacknowledged: number; has_more: boolean }>(isAsked ? `/v1/clients/${encodeURIComponent(client)}` : undefined);
  if (!one.value) return <button type="button" className="quiet" title={cursor} onClick={() => setIsAsked(true)}>How far?</button>;
  return <span title={cursor}>{count.format(one.value.unacknowledged)}{one.value.has_more && '+'} to come</span>;
}

function Groups() {
  const { api, isAdmin } = useSession();
  const groups = useAsked<{ groups: { group: string; clients: number }[] }>('/v1/groups', 5);
  const [shown, setShown] = useState('');
  const members = useAsked<{ clients: string[] }>(shown ? `/v1/groups/${encodeURIComponent(shown)}` : undefined, 5);
  const doing = useDoing();
  const change = (method: string, group: string, client: string) => doing.run(async () => {
    await api.request(method, `/v1/groups/${encodeURIComponent(group)}/clients/${encodeURIComponent(client)}`);
    groups.again();
    members.again();
    return method === 'PUT' ? `${client} is in ${group}.` : `${client} is no longer in ${group}.`;
  });
  const join = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    if (await change('PUT', String(data.get('group')), String(data.get('client')))) form.reset();
  };
  return (
    <>
      <h2>Groups</h2>
      <Problem of={groups.problem ?? members.problem} />
      <Outcome doing={doing} />
      <p className="bar">
        {groups.value?.groups.map(({ group, clients }) => (
          <button type="button" key={group} aria-pressed={group === shown} onClick={() => setShown(group === shown ? '' : group)}>{group} <span className="hint">{clients}</span></button>
        ))}
        {groups.value?.groups.length === 0 && <span className="hint">There are none.</span>}
      </p>
      {shown && <ul className="plain">{members.value?.clients.map((client) => (
        <li key={client}>{client} {isAdmin && <button type="button" className="quiet" onClick={() => change('DELETE', shown, client)}>Take out</button>}</li>
      ))}</ul>}
      {isAdmin && <form className="filters" onSubmit={join} aria-label="Put a client into a group">
        <label>Group <input name="group" required /></label>
        <label>Client <input name="client" required /></label>
        <button>Put in</button>
      </form>}
    </>
  );
}
