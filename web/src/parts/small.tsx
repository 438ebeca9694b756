import { useEffect, useRef, useState, type ReactNode } from 'react';

import type { Doing } from '../ask';

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** A time of today as a time, any in full where the pointer rests. */
export function Time({ of }: { of: string | undefined | null }) {
  if (!of) return <span className="hint">–</span>;
  const date = new Date(of);
  const isToday = date.toDateString() === new Date().toDateString();
  return <time dateTime={of} title={of}>{(isToday ? time : day).format(date)}</time>;
}

export const Badge = ({ kind, children }: { kind: string; children?: ReactNode }) =>
  <span className="badge" data-kind={kind}>{children ?? kind.replaceAll('_', ' ')}</span>;

/** What came of something that was done, read out as it appears. */
export const Outcome = ({ doing }: { doing: Doing }) => (
  <div aria-live="polite" className="outcome">
    {doing.problem && <p role="alert">{doing.problem}</p>}
    {doing.done && <p className="done">{doing.done}</p>}
  </div>
);

export const Problem = ({ of }: { of: string | undefined }) => (of ? <p role="alert">{of}</p> : null);

export function Copy({ text, children }: { text: string; children: ReactNode }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1_500);
  };
  return <button type="button" onClick={copy}>{copied ? 'Copied' : children}</button>;
}

/** A button that asks once more before it does what cannot be undone. */
export function Sure({ children, onSure }: { children: string; onSure: () => void }) {
  const [isAsking, setIsAsking] = useState(false);
  useEffect(() => {
    if (!isAsking) return;
    const timer = setTimeout(() => setIsAsking(false), 4_000);
    return () => clearTimeout(timer);
  }, [isAsking]);
  const click = () => {
    if (isAsking) onSure();
    setIsAsking(!isAsking);
  };
  return <button type="button" className={isAsking ? 'danger' : ''} onClick={click}>{isAsking ? `Really ${children.toLowerCase()}?` : children}</button>;
}

/** Something beside the page, until it is closed: with its button, or Escape. */
export function Panel({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const shown = dialog.current!;
    shown.showModal();
    return () => shown.close();
  }, []);
  return (
    <dialog ref={dialog} className="panel" aria-label={title} onCancel={onClose} onClose={onClose}
      onClick={(event) => { if (event.target === dialog.current) onClose(); }}>
      <div className="panel-body">
        <div className="bar"><h2>{title}</h2><button type="button" className="quiet" onClick={onClose}>Close</button></div>
        {children}
      </div>
    </dialog>
  );
}

export const Empty = ({ children }: { children: ReactNode }) => <p className="empty">{children}</p>;

/** A table that scrolls by itself where it is wider than the screen. */
export const Table = ({ label, heads, children }: { label: string; heads: string[]; children: ReactNode }) => (
  <div className="table" role="region" aria-label={label} tabIndex={0}>
    <table>
      <thead><tr>{heads.map((head) => <th key={head} scope="col">{head || <span className="unseen">Actions</span>}</th>)}</tr></thead>
      <tbody>{children}</tbody>
    </table>
  </div>
);

export const count = new Intl.NumberFormat();

export function bytes(size: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) { size /= 1024; unit++; }
  return `${size >= 10 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
