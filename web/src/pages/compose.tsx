import type { Draft, NotificationEvent, Published } from '@notification-server/client';
import { useState, type FormEvent } from 'react';

import { useDoing } from '../ask';
import { asCurl } from '../parts/event-panel';
import { Copy, Outcome } from '../parts/small';
import { useSession } from '../session';

/** Sends a notification. */
export default function Compose() {
  const { api } = useSession();
  const doing = useDoing();
  const [sent, setSent] = useState<Draft>();
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const draft = read(new FormData(event.currentTarget));
    void doing.run(async () => {
      const published: Published = await api.publish(draft);
      setSent(draft);
      const away = published.clients_away > 0 ? `, and ${published.clients_away} clients that are away will get it` : '';
      return `It was sent to ${published.subscribers} open streams${away}.`;
    });
  };
  return (
    <form className="form card" onSubmit={send} aria-label="A notification">
      <label>Message <textarea name="message" rows={3} required maxLength={4096} /></label>
      <div className="columns">
        <label>Title <input name="title" maxLength={256} /></label>
        <label>Type <select name="type"><option>info</option><option>success</option><option>warning</option><option>error</option></select></label>
        <label>Topic <input name="topic" placeholder="default" /></label>
        <label>Priority <select name="priority" defaultValue="3">
          {['min', 'low', 'default', 'high', 'urgent'].map((name, i) => <option key={name} value={i + 1}>{name}</option>)}
        </select></label>
        <label>Tags <input name="tags" placeholder="disk, eu" /></label>
        <label>Only for clients <input name="clients" placeholder="alice, bob" /></label>
        <label>Only for groups <input name="groups" placeholder="ops" /></label>
      </div>
      <label className="check"><input type="checkbox" name="ack" /> Keep receipts of who has got and acknowledged it</label>
      <div className="bar"><button disabled={doing.busy}>Send</button>{sent && <Copy text={asCurl(sent as never)}>Copy the last as curl</Copy>}</div>
      <Outcome doing={doing} />
    </form>
  );
}

function read(form: FormData): Draft {
  const text = (name: string) => String(form.get(name) ?? '').trim();
  const words = (name: string) => text(name).split(/[\s,]+/).filter(Boolean);
  const audience = { clients: words('clients'), groups: words('groups') };
  return {
    type: 'notification', message: text('message'), notification_type: text('type') as NotificationEvent['notification_type'],
    ...text('title') ? { title: text('title') } : {},
    ...text('topic') ? { topic: text('topic') } : {},
    ...text('priority') === '3' ? {} : { priority: Number(text('priority')) },
    ...words('tags').length ? { tags: words('tags') } : {},
    ...audience.clients.length || audience.groups.length ? {
      audience: { ...audience.clients.length ? { clients: audience.clients } : {}, ...audience.groups.length ? { groups: audience.groups } : {} },
    } : {},
    ...form.get('ack') ? { require_ack: true } : {},
  };
}
