/**
 * A whole that is fetched once and kept true by events. When the connection breaks, what was there stays on the page and
 * is said to be old; it goes on where it was, or with a new whole.
 */
import { useEffect, useState } from 'preact/hooks';
import type { Refusal } from '../controller/dashboard/api.ts';

export type Link =
  | { readonly state: 'loading' }
  | { readonly state: 'live' }
  /** `missing`: the server is there and knows nothing of what was asked for. */
  | { readonly state: 'lost'; readonly why: string; readonly missing: boolean };

export interface Feed<Whole> {
  readonly whole: Whole | undefined;
  readonly link: Link;
  /** When it was true last, by the clock of the server, ms. */
  readonly at: number;
  /** What to add to this browser's clock to have the server's, ms. */
  readonly skew: number;
}

const RETRY_MS = 2_000;
/** The server says something at least every 15 s. */
const LOADING: Link = { state: 'loading' };

/** `path`: of the whole; `events`: the query of its events, without `since`. `apply` returns the next whole. */
export function useFeed<Whole extends { readonly seq: string; readonly now: number }>(
  path: string,
  events: string,
  apply: (whole: Whole, change: never) => Whole,
): Feed<Whole> {
  const [feed, setFeed] = useState<Feed<Whole>>({ whole: undefined, link: LOADING, at: 0, skew: 0 });
  useEffect(() => {
    let ended = false;
    let source: EventSource | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    setFeed({ whole: undefined, link: LOADING, at: 0, skew: 0 });

    const lose = (why: string, missing = false): void => {
      source?.close();
      if (ended) return;
      setFeed((before) => ({ ...before, link: { state: 'lost', why, missing } }));
      timer = setTimeout(() => void load(), RETRY_MS);
    };

    async function load(): Promise<void> {
      try {
        const response = await fetch(path, { headers: { accept: 'application/json' } });
        if (!response.ok) return lose(await refusalOf(response), response.status === 404);
        const whole = (await response.json()) as Whole;
        if (ended) return;
        const skew = whole.now - Date.now();
        setFeed({ whole, link: { state: 'live' }, at: whole.now, skew });
        listen(whole.seq);
      } catch {
        lose('the server does not answer');
      }
    }

    function listen(seq: string): void {
      source = new EventSource(`api/events?${events}since=${encodeURIComponent(seq)}`);
      source.addEventListener('open', () => setFeed((before) => ({ ...before, link: { state: 'live' } })));
      source.addEventListener('change', ({ data }) => {
        const change = JSON.parse(data as string) as { readonly now: number };
        setFeed((before) =>
          before.whole ? { ...before, whole: apply(before.whole, change as never), at: change.now } : before,
        );
      });
      source.addEventListener('reset', () => {
        source?.close();
        void load();
      });
      source.addEventListener('error', () => {
        // it comes back by itself, unless the server has said no
        if (source?.readyState === EventSource.CLOSED) lose('the server ended the connection');
        else
          setFeed((before) => ({
            ...before,
            link: { state: 'lost', why: 'the connection broke', missing: false },
          }));
      });
    }

    void load();
    return () => {
      ended = true;
      clearTimeout(timer);
      source?.close();
    };
  }, [path, events]);
  return feed;
}

/** Why the server did not do it, in its words. */
export async function refusalOf(response: Response): Promise<string> {
  const body = (await response.json().catch(() => undefined)) as Refusal | undefined;
  return body?.error ?? `the server answered ${response.status}`;
}
