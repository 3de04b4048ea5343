/**
 * The channels that browsers listen to: a list for each set of namespaces that visitors see, and a page for each pool. A channel
 * is made when it is first wanted, and dropped once nobody listens.
 */
import type { About } from '../api.ts';
import type { Board } from '../board.ts';
import type { BatchReader } from '../read/batches.ts';
import type { DetailsReader } from '../read/details.ts';
import { createOverview, type OverviewChannel } from './overview.ts';
import { createPoolChannel, type PoolChannel } from './pool-page.ts';

/** The namespaces that a visitor sees. */
export type Visible = 'all' | ReadonlySet<string>;

export interface ChannelsOptions {
  readonly board: Board;
  readonly details: DetailsReader;
  readonly batches: BatchReader;
  readonly about: About;
  readonly now: () => number;
}

export interface Channels {
  overview(visible: Visible): OverviewChannel;
  /** That of the pool with this key, which exists. */
  page(key: string): PoolChannel;
  stop(): void;
}

export function createChannels({ board, details, batches, about, now }: ChannelsOptions): Channels {
  /** By the namespaces shown. */
  const overviews = new Map<string, OverviewChannel>();
  const pages = new Map<string, PoolChannel>();
  return {
    overview: (visible) => {
      const name = visibleKey(visible);
      const known = overviews.get(name);
      if (known) return known;
      const onIdle = (): void => void overviews.delete(name);
      const shows = visible === 'all' ? {} : { shows: (key: string) => visible.has(poolNamespace(key)) };
      const made = createOverview({ board, about, now, ...shows, onIdle });
      overviews.set(name, made);
      return made;
    },
    page: (key) => {
      const known = pages.get(key);
      if (known) return known;
      const onIdle = (): void => void pages.delete(key);
      const made = createPoolChannel({ key, board, details, batches, about, now, onIdle });
      pages.set(key, made);
      return made;
    },
    stop: () => {
      for (const channel of [...overviews.values(), ...pages.values()]) channel.stop();
    },
  };
}

/** The namespace of the pool with this key. */
export const poolNamespace = (key: string): string => key.slice(0, key.indexOf('/'));

/** The same text for the same namespaces. */
export function visibleKey(visible: Visible): string {
  return visible === 'all' ? 'all' : `some:${[...visible].toSorted().join(' ')}`;
}
