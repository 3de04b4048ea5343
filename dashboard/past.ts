/**
 * What the timeline in Redis says of a pool: fetched when somebody asks for it, and again while the page is in sight, once in
 * a step and at most once a minute. When that fails, what was there stays, and the page says so.
 */
import { useEffect, useState } from 'preact/hooks';
import type { PastRange, PoolPast } from '../controller/dashboard/api.ts';
import { refusalOf } from './feed.ts';
import { readingHeaders } from './session.ts';

export interface PastState {
  readonly past: PoolPast | undefined;
  /** Why the last read failed. */
  readonly trouble: string | undefined;
}

const AGAIN_MS = 60_000;
const RETRY_MS = 10_000;
const NOTHING: PastState = { past: undefined, trouble: undefined };

/** Of the pool `namespace/name`; nothing is fetched without a range. */
export function usePast(pool: string, range: PastRange | undefined): PastState {
  const [state, setState] = useState<PastState>(NOTHING);
  useEffect(() => {
    setState(NOTHING);
    if (range === undefined) return undefined;
    const ended = new AbortController();
    const { signal } = ended;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const path = `api/pools/${pool.split('/').map(encodeURIComponent).join('/')}/past?range=${range}`;

    async function load(): Promise<void> {
      clearTimeout(timer);
      const trouble = await fetch(path, { signal, headers: readingHeaders() }).then(
        async (response) => {
          if (!response.ok) return refusalOf(response);
          const past = (await response.json()) as PoolPast;
          if (!signal.aborted) setState({ past, trouble: undefined });
          return undefined;
        },
        () => 'the server does not answer',
      );
      if (signal.aborted) return;
      if (trouble !== undefined) setState(({ past }) => ({ past, trouble }));
      timer = setTimeout(again, trouble === undefined ? AGAIN_MS : RETRY_MS);
    }
    /** Nothing is fetched while the page is hidden. */
    function again(): void {
      timer = undefined;
      if (!document.hidden) void load();
    }
    const seen = (): void => {
      if (timer === undefined) again();
    };
    void load();
    document.addEventListener('visibilitychange', seen);
    return () => {
      ended.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }, [pool, range]);
  return state.past && state.past.range !== range ? NOTHING : state;
}
