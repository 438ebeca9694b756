import { NotificationError } from '@notification-server/client';
import { useCallback, useEffect, useRef, useState } from 'react';

import { useSession } from './session';

export interface Asked<T> { value: T | undefined; problem: string | undefined; again: () => void }

/** What a door answers, asked again every `seconds` while the page is seen. No path, no question. */
export function useAsked<T>(path: string | undefined, seconds?: number): Asked<T> {
  const { api } = useSession();
  const [state, setState] = useState<{ path?: string | undefined; value?: T; problem?: string }>({});
  const [count, setCount] = useState(0);
  useEffect(() => {
    if (path === undefined) return;
    let isOver = false;
    const ask = () => {
      if (document.hidden) return;
      api.request<T>('GET', path).then(
        (value) => { if (!isOver) setState({ path, value }); },
        (error: unknown) => { if (!isOver) setState((state) => ({ ...state.path === path ? state : { path }, problem: sentence(error) })); },
      );
    };
    ask();
    const timer = seconds === undefined ? undefined : setInterval(ask, seconds * 1_000);
    document.addEventListener('visibilitychange', ask);
    return () => {
      isOver = true;
      clearInterval(timer);
      document.removeEventListener('visibilitychange', ask);
    };
  }, [api, path, seconds, count]);
  const again = useCallback(() => setCount((count) => count + 1), []);
  const isCurrent = state.path === path;
  return { value: isCurrent ? state.value : undefined, problem: isCurrent ? state.problem : undefined, again };
}

export interface Doing { problem: string; done: string; busy: boolean; run: (what: () => Promise<string | void>) => Promise<boolean> }

/** Does one thing at a time, and keeps what came of it. */
export function useDoing(): Doing {
  const [state, setState] = useState({ problem: '', done: '', busy: false });
  const isBusy = useRef(false);
  const run = useCallback(async (what: () => Promise<string | void>) => {
    if (isBusy.current) return false;
    isBusy.current = true;
    setState({ problem: '', done: '', busy: true });
    try {
      const done = await what();
      setState({ problem: '', done: done ?? '', busy: false });
      return true;
    } catch (error) {
      setState({ problem: sentence(error), done: '', busy: false });
      return false;
    } finally {
      isBusy.current = false;
    }
  }, []);
  return { ...state, run };
}

export function sentence(error: unknown): string {
  if (error instanceof NotificationError || error instanceof Error) return error.message;
  return String(error);
}
