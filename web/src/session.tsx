import { Api, NotificationError, type Credential } from '@notification-server/client';
import { createContext, useContext, useEffect, useMemo, useState, type FormEvent, type ReactNode } from 'react';

/** Who this page asks as, as the server says it. */
export interface Principal { principal: string; allow: string[]; client_id?: string; groups?: string[]; expires_at?: string }

export interface Session {
  principal: Principal;
  api: Api;
  /** Where the browser keeps no cookie for this server, the key, as long as the page is open. */
  credential: Credential | undefined;
  /** Whether it has a grant of this kind, such as `publish`. */
  may: (kind: string) => boolean;
  isAdmin: boolean;
  signOut: (() => void) | undefined;
}

const Context = createContext<Session | undefined>(undefined);

export const useSession = (): Session => useContext(Context)!;

interface Known { principal: Principal; credential?: string; isSession: boolean }

/** Shows its children to who is known, and others where to say who they are. */
export function SessionGate({ children }: { children: ReactNode }) {
  const [known, setKnown] = useState<Known | 'nobody'>();
  const [failure, setFailure] = useState('');
  useEffect(() => {
    who(new Api({ url: location.origin })).then(
      (principal) => setKnown({ principal, isSession: principal.principal !== 'local' }),
      (error: unknown) => {
        if (error instanceof NotificationError && error.kind === 'unauthorized') setKnown('nobody');
        else setFailure(String(error instanceof Error ? error.message : error));
      },
    );
  }, []);
  const session = useMemo(() => known && known !== 'nobody' ? open(known, () => setKnown('nobody')) : undefined, [known]);
  if (failure) return <main className="gate"><h1>Notifications</h1><p role="alert">{failure}</p></main>;
  if (known === 'nobody') return <SignIn onKnown={setKnown} />;
  if (!session) return <main className="gate"><h1>Notifications</h1><p className="hint">Loading…</p></main>;
  return <Context value={session}>{children}</Context>;
}

const who = (api: Api) => api.request<Principal>('GET', '/v1/session');

function open({ principal, credential, isSession }: Known, forget: () => void): Session {
  const api = new Api({ url: location.origin, ...credential === undefined ? {} : { credential } });
  const isAdmin = principal.allow.includes('admin');
  const signOut = () => {
    const ended = credential === undefined ? api.request('DELETE', '/v1/session') : Promise.resolve();
    void ended.catch(() => undefined).then(forget);
  };
  return {
    principal, api, credential, isAdmin,
    may: (kind) => isAdmin || principal.allow.some((grant) => grant === kind || grant.startsWith(`${kind}:`)),
    signOut: isSession ? signOut : undefined,
  };
}

function SignIn({ onKnown }: { onKnown: (known: Known) => void }) {
  const [problem, setProblem] = useState('');
  const signIn = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const key = String(new FormData(event.currentTarget).get('key')).trim();
    setProblem('');
    try {
      const principal = await new Api({ url: location.origin, credential: key }).request<Principal>('POST', '/v1/session');
      // Over plain http browsers keep no such cookie, but for this machine.
      const hasCookie = await who(new Api({ url: location.origin })).then(() => true, () => false);
      onKnown(hasCookie ? { principal, isSession: true } : { principal, credential: key, isSession: true });
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <main className="gate">
      <h1>Notifications</h1>
      <form className="card" onSubmit={signIn}>
        <label>Key or token <input name="key" type="password" autoComplete="current-password" required autoFocus /></label>
        <button>Sign in</button>
        {problem && <p role="alert">{problem}</p>}
        <p className="hint">Keys are made with <code>notification-server key create</code>.</p>
      </form>
    </main>
  );
}
