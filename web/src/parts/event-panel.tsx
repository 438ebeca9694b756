import type { ServerEvent } from '@notification-server/client';

import { useAsked } from '../ask';
import { useSession } from '../session';
import { Badge, Copy, Panel, Problem, Table, Time } from './small';

interface Recipient {
  kind: string; id: string; client_id?: string; transport?: string; outcome: string; reason?: string;
  delivered_at?: string; acknowledged_at?: string;
}
interface Explanation {
  outcomes: Record<string, number>; reasons: Record<string, number>; recipients: Recipient[]; omitted: number;
}
interface Receipt { client_id: string; delivered_at: string | null; acknowledged_at: string | null }

/** One event: all of it, who has got it and who has not, and why. */
export function EventPanel({ event, onClose }: { event: ServerEvent; onClose: () => void }) {
  const { may } = useSession();
  const base = `/v1/events/${encodeURIComponent(event.event_id)}`;
  const explained = useAsked<Explanation>(may('connections') ? `${base}/deliveries` : undefined, 3);
  const receipts = useAsked<{ receipts: Receipt[] }>(event.require_ack ? `${base}/receipts` : undefined, 3);
  return (
    <Panel title="Event" onClose={onClose}>
      <div className="bar">
        <Copy text={JSON.stringify(event, null, 2)}>Copy JSON</Copy>
        <Copy text={asCurl(event)}>Copy as curl</Copy>
      </div>
      <pre className="json" tabIndex={0} aria-label="The event as JSON">{JSON.stringify(event, null, 2)}</pre>
      {may('connections') && <section>
        <h3>Who got it</h3>
        <Problem of={explained.problem} />
        {explained.value && <>
          <p className="bar">{Object.entries(explained.value.outcomes).map(([outcome, n]) =>
            <Badge key={outcome} kind={outcome}>{n} {outcome.replaceAll('_', ' ')}</Badge>)}
            {Object.keys(explained.value.outcomes).length === 0 && <span className="hint">Nobody was there.</span>}</p>
          {explained.value.recipients.length > 0 && <Table label="Who got it" heads={['Who', 'By', 'Outcome', 'Why', 'When']}>
            {explained.value.recipients.map((it) => <tr key={`${it.kind} ${it.id}`}>
              <td title={it.id}>{it.client_id ?? it.id.slice(0, 8)}</td>
              <td>{it.kind === 'webhook' ? 'webhook' : it.transport ?? it.kind}</td>
              <td><Badge kind={it.outcome} /></td>
              <td>{it.reason?.replaceAll('_', ' ')}</td>
              <td><Time of={it.acknowledged_at ?? it.delivered_at} /></td>
            </tr>)}
          </Table>}
          {explained.value.omitted > 0 && <p className="hint">{explained.value.omitted} more are counted only.</p>}
        </>}
      </section>}
      {event.require_ack && <section>
        <h3>Receipts</h3>
        <Problem of={receipts.problem} />
        {receipts.value && <Table label="Receipts" heads={['Client', 'Delivered', 'Acknowledged']}>
          {receipts.value.receipts.map((it) => <tr key={it.client_id}>
            <td>{it.client_id}</td><td><Time of={it.delivered_at} /></td><td><Time of={it.acknowledged_at} /></td>
          </tr>)}
        </Table>}
      </section>}
    </Panel>
  );
}

/** What publishes the like of it. */
export function asCurl(event: ServerEvent): string {
  const { event_id: _, timestamp: _t, ...rest } = event as unknown as Record<string, unknown>;
  delete rest['notification_id'];
  delete rest['started_at'];
  const body = JSON.stringify(rest).replaceAll("'", String.raw`'\''`);
  return `curl ${location.origin}/v1/events -H 'Content-Type: application/json' -d '${body}'`;
}
