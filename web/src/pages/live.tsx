import type { ServerEvent } from '@notification-server/client';
import { useConnection } from '@notification-server/client/react';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useMemo, useRef, useState, useSyncExternalStore, type FormEvent } from 'react';

import { ALL, EventStore, kindOf, matches, MAX_ROWS, sayStatus, summary, type EventFilter, type Row } from '../events';
import { EventPanel } from '../parts/event-panel';
import { Badge, count, Empty, Time } from '../parts/small';
import { useSession } from '../session';
import { useAlerts } from '../alerts';

/** Outlives the page being left and come back to. */
const store = new EventStore();
const ROW = 40;
const OWN_TOPICS = ['$presence', '$webhooks', '$receipts/*', '$audit'];

/** Events as they come, newest first. */
export function Live() {
  const { credential, principal, may, isAdmin } = useSession();
  const [filter, setFilter] = useState(ALL);
  const [client, setClient] = useState(principal.client_id ?? '');
  const [hasOwnTopics, setHasOwnTopics] = useState(false);
  const [shown, setShown] = useState<ServerEvent>();
  const alerts = useAlerts();
  const { rows, held, isHeld } = useSyncExternalStore(store.subscribe, store.snapshot);

  const options = useMemo(() => ({
    topics: hasOwnTopics ? ['**', ...OWN_TOPICS] : ['**'],
    since: '10m',
    ...client ? { clientId: client } : {},
    ...credential === undefined ? {} : { credential },
  }), [client, credential, hasOwnTopics]);
  // What another view of the log brings is not mixed with this one.
  useEffect(() => () => store.clear(), [options]);
  const wasOpen = useRef(false);
  const { state, error } = useConnection(options, {
    onEvent: (event) => {
      store.add(event);
      alerts.tell(event);
    },
    onStatus: (status) => {
      const said = sayStatus(status);
      if (said) store.say(said);
      if (status.status === 'connected') {
        if (wasOpen.current) store.say('Connected again, where it was.');
        wasOpen.current = true;
      }
    },
  });
  useEffect(() => { wasOpen.current = false; }, [options]);

  const wanted = useMemo(() => filter === ALL ? rows : rows.filter((row) => !row.event || matches(filter, row.event)), [rows, filter]);
  const list = useRef<HTMLDivElement>(null);
  // The reason for which it is held: what is read does not move away.
  const [isPaused, setIsPaused] = useState(false);
  const [isAway, setIsAway] = useState(false);
  useEffect(() => store.hold(isPaused || isAway), [isPaused, isAway]);
  useEffect(() => () => store.hold(false), []);
  const virtual = useVirtualizer({ count: wanted.length, getScrollElement: () => list.current, estimateSize: () => ROW, overscan: 12 });
  const rowAt = (index: number): Row => wanted[wanted.length - 1 - index]!;
  const goOn = () => {
    list.current?.scrollTo({ top: 0 });
    setIsPaused(false);
    setIsAway(false);
  };
  const change = (change: Partial<EventFilter>) => setFilter((filter) => ({ ...filter, ...change }));
  const search = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    setClient(String(new FormData(event.currentTarget).get('client')).trim());
  };

  return (
    <>
      <form className="filters" onSubmit={search} aria-label="Which events">
        <label>Topic <input value={filter.topic} placeholder="ops/**" onChange={(e) => change({ topic: e.target.value })} /></label>
        <label>Type <select value={filter.type} onChange={(e) => change({ type: e.target.value })}>
          <option value="">all</option>
          {['notification', 'info', 'success', 'warning', 'error', 'progress', 'event'].map((it) => <option key={it}>{it}</option>)}
        </select></label>
        <label>Priority <select value={filter.minPriority} onChange={(e) => change({ minPriority: Number(e.target.value) })}>
          {[1, 2, 3, 4, 5].map((it) => <option key={it} value={it}>{it === 1 ? 'all' : `${it} and more`}</option>)}
        </select></label>
        <label>Tag <input value={filter.tag} onChange={(e) => change({ tag: e.target.value })} /></label>
        <label>Text <input type="search" value={filter.text} onChange={(e) => change({ text: e.target.value })} /></label>
        {(isAdmin || may('client')) && <label>As client <input name="client" defaultValue={client} title="Also shows what is for this client only. Press Enter." /></label>}
        {filter !== ALL && <button type="button" className="quiet" onClick={() => setFilter(ALL)}>All</button>}
      </form>
      <div className="bar">
        <span role="status" className="state" data-state={state}>{error ? error.message : STATES[state]}</span>
        <button type="button" aria-pressed={isPaused} onClick={() => (isHeld ? goOn() : setIsPaused(true))}>
          {isHeld ? (held > 0 ? `Show ${count.format(held)} new` : 'Go on') : 'Pause'}
        </button>
        <label className="check"><input type="checkbox" checked={hasOwnTopics} onChange={(e) => setHasOwnTopics(e.target.checked)} /> The server’s own topics</label>
        <label className="check"><input type="checkbox" checked={alerts.notifies} onChange={(e) => alerts.setNotifies(e.target.checked)} /> Desktop notifications</label>
        <label className="check"><input type="checkbox" checked={alerts.sounds} onChange={(e) => alerts.setSounds(e.target.checked)} /> Sound</label>
        {alerts.problem && <span className="hint">{alerts.problem}</span>}
        <span className="hint grow">{count.format(wanted.filter((row) => row.event).length)} of the last 10 minutes and since</span>
      </div>
      {store.dropped > 0 && <p className="hint">The newest {count.format(MAX_ROWS)} are kept here; {count.format(store.dropped)} older ones are in the server’s log.</p>}
      {wanted.length === 0
        ? <Empty>Nothing yet. Try <code>curl -d 'Backup done' {location.origin}/v1/topics/backups</code>{may('publish') && <> or <a href="#/compose">compose</a></>}.</Empty>
        : (
          <div ref={list} className="live" role="region" aria-label="Events" tabIndex={0}
            onScroll={(e) => setIsAway(e.currentTarget.scrollTop > ROW)}>
            <ul style={{ height: virtual.getTotalSize() }}>
              {virtual.getVirtualItems().map((item) => {
                const row = rowAt(item.index);
                return (
                  <li key={row.at} style={{ transform: `translateY(${item.start}px)` }}>
                    {row.event
                      ? <EventRow event={row.event} onOpen={setShown} />
                      : <p className="said">{row.said}</p>}
                  </li>
                );
              })}
            </ul>
          </div>
        )}
      {shown && <EventPanel event={shown} onClose={() => setShown(undefined)} />}
    </>
  );
}

const STATES = { connecting: 'Connecting…', open: 'Live', waiting: 'The connection was lost. It comes back by itself.', closed: 'Closed' };

const EventRow = ({ event, onOpen }: { event: ServerEvent; onOpen: (event: ServerEvent) => void }) => (
  <button type="button" className="row" data-kind={kindOf(event)} onClick={() => onOpen(event)}>
    <Time of={event.timestamp} />
    <Badge kind={kindOf(event)} />
    <span className="topic">{event.topic}</span>
    <span className="summary">{summary(event)}</span>
    {(event.priority ?? 3) > 3 && <Badge kind="priority">{event.priority === 5 ? 'urgent' : 'high'}</Badge>}
    {event.tags?.map((tag) => <span key={tag} className="tag">{tag}</span>)}
  </button>
);
