import { lazy, Suspense, useEffect, useState, type ReactNode } from 'react';

import { Live } from './pages/live';
import { SessionGate, useSession } from './session';
import { useTheme } from './theme';

// The first page comes with the application, the others when they are looked at.
const Tasks = lazy(() => import('./pages/tasks'));
const Connections = lazy(() => import('./pages/connections'));
const Webhooks = lazy(() => import('./pages/webhooks'));
const EventTypes = lazy(() => import('./pages/event-types'));
const Overview = lazy(() => import('./pages/overview'));
const Compose = lazy(() => import('./pages/compose'));

interface Page { path: string; name: string; grants?: string[]; element: ReactNode }

/** `grants`: one of them has to be there for the page to be of use. */
const PAGES: Page[] = [
  { path: 'live', name: 'Live', grants: ['subscribe'], element: <Live /> },
  { path: 'tasks', name: 'Tasks', grants: ['subscribe', 'tasks'], element: <Tasks /> },
  { path: 'connections', name: 'Connections', grants: ['connections'], element: <Connections /> },
  { path: 'webhooks', name: 'Webhooks', grants: ['webhooks'], element: <Webhooks /> },
  { path: 'event-types', name: 'Event types', element: <EventTypes /> },
  { path: 'overview', name: 'Overview', grants: ['connections'], element: <Overview /> },
  { path: 'compose', name: 'Compose', grants: ['publish'], element: <Compose /> },
];

const path = () => location.hash.replace(/^#\/?/, '').split('?')[0] ?? '';

export const App = () => <SessionGate><Shell /></SessionGate>;

function Shell() {
  const { may, principal, signOut } = useSession();
  const [theme, nextTheme] = useTheme();
  const [at, setAt] = useState(path);
  useEffect(() => {
    const moved = () => setAt(path());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  const pages = PAGES.filter((page) => !page.grants || page.grants.some(may));
  const page = pages.find((page) => page.path === at) ?? pages[0]!;
  useEffect(() => { document.title = `${page.name} · Notifications`; }, [page.name]);
  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>
        Skip to the page
      </a>
      <header>
        <strong className="brand"><img src={new URL('./icon.svg', import.meta.url).href} alt="" width="24" height="24" /> Notifications</strong>
        <nav aria-label="Pages">
          {pages.map(({ path, name }) => (
            <a key={path} href={`#/${path}`} aria-current={path === page.path ? 'page' : undefined}>{name}</a>
          ))}
        </nav>
        <div className="who">
          <button type="button" className="quiet" onClick={nextTheme}>Theme: {theme}</button>
          <span title="Who this page asks as">{principal.principal}</span>
          {signOut && <button type="button" className="quiet" onClick={signOut}>Sign out</button>}
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <h1>{page.name}</h1>
        <Suspense fallback={<p className="hint">Loading…</p>}>{page.element}</Suspense>
      </main>
    </div>
  );
}
