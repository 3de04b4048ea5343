/**
 * A whole that is fetched once and kept true by events. When the connection breaks, what was there stays on the page and
 * is said to be old; it goes on where it was, or with a new whole. Where a token is asked for, it waits for one.
 */
import { useEffect, useState } from 'preact/hooks';
import { listen, Refused, refusedBy } from './events.ts';
import { readingHeaders, useToken, wantSignIn } from './session.ts';

export type FeedLink =
  | { readonly state: 'loading' }
  | { readonly state: 'live' }
  /** `missing`: the server responded that there is no such thing. */
  | { readonly state: 'lost'; readonly why: string; readonly missing: boolean }
  /** The server requires a token, or another one. */
  | { readonly state: 'denied'; readonly why: string };

export interface Feed<Whole> {
  readonly whole: Whole | undefined;
  readonly link: FeedLink;
  /** When the data was last current, by the server's clock, ms. */
  readonly at: number;
  /** The server's clock minus this browser's, ms. */
  readonly skew: number;
}

const RETRY_MS = 2_000;
const BROKE = 'the connection broke';

/** `path`: of the snapshot; `events`: the query of its events, without `since`. `apply` returns the next snapshot. */
export function useFeed<Whole extends { readonly seq: string; readonly now: number }>(
  path: string,
  events: string,
  apply: (whole: Whole, change: never) => Whole,
): Feed<Whole> {
  useToken();
  // another token may have other permissions
  const reads = JSON.stringify(readingHeaders());
  const [feed, setFeed] = useState<Feed<Whole>>(loading);
  useEffect(() => {
    const ended = new AbortController();
    const { signal } = ended;
    let timer: ReturnType<typeof setTimeout> | undefined;
    setFeed(loading());

    const link = (now: FeedLink): void => setFeed((before) => ({ ...before, link: now }));
    const later = (what: () => Promise<void>): void => {
      if (!signal.aborted) timer = setTimeout(() => void what(), RETRY_MS);
    };
    /** After a refusal: ask for a token, or retry. */
    const refused = ({ signIn, status, message }: Refused): void => {
      if (signal.aborted) return;
      if (signIn) {
        wantSignIn();
        // discard everything that another token has shown
        setFeed({ ...loading(), link: { state: 'denied', why: message } });
        return;
      }
      link({ state: 'lost', why: message, missing: status === 404 });
      later(load);
    };

    async function load(): Promise<void> {
      try {
        const response = await fetch(path, {
          headers: { accept: 'application/json', ...readingHeaders() },
          signal,
        });
        if (!response.ok) return refused(await refusedBy(response));
        const whole = (await response.json()) as Whole;
        if (signal.aborted) return;
        setFeed({ whole, link: { state: 'live' }, at: whole.now, skew: whole.now - Date.now() });
        await follow(whole.seq);
      } catch {
        if (signal.aborted) return;
        link({ state: 'lost', why: 'the server does not answer', missing: false });
        later(load);
      }
    }

    /** Follows the events after `since`, reconnecting, and fetches the snapshot anew if they cannot be continued. */
    async function follow(since: string): Promise<void> {
      let last = since;
      const reset = new AbortController();
      const options = { headers: readingHeaders(), signal: AbortSignal.any([signal, reset.signal]) };
      try {
        await listen(
          `api/events?${events}since=${encodeURIComponent(since)}`,
          options,
          () => link({ state: 'live' }),
          ({ name, data, id }) => {
            last = id ?? last;
            if (name === 'reset') reset.abort();
            if (name !== 'change') return;
            const change = JSON.parse(data) as { readonly now: number };
            setFeed((before) =>
              before.whole
                ? { ...before, whole: apply(before.whole, change as never), at: change.now }
                : before,
            );
          },
        );
      } catch (error) {
        if (error instanceof Refused) return refused(error);
      }
      if (signal.aborted) return;
      if (reset.signal.aborted) return await load();
      link({ state: 'lost', why: BROKE, missing: false });
      later(() => follow(last));
    }

    void load();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [path, events, reads]);
  return feed;
}

function loading(): { whole: undefined; link: FeedLink; at: number; skew: number } {
  return { whole: undefined, link: { state: 'loading' }, at: 0, skew: 0 };
}

/** The server's reason for refusing an action. */
export async function refusalOf(response: Response): Promise<string> {
  return (await refusedBy(response)).message;
}
