/**
 * How fast the parts of batches end, from what was seen while somebody looked: the mean of the last few minutes, or of the
 * whole batch while that is all that is known. Pure.
 */
import type { BatchView } from './record.ts';

export interface Paces {
  /** Takes what was read at `now`, ms of Redis time. What is not in the list any more is forgotten. */
  seen(now: number, views: readonly BatchView[]): void;
  /** Parts a second; `undefined` if none has ended lately. */
  of(id: string): number | undefined;
}

type Look = readonly [at: number, ended: number];

const SPAN_MS = 3 * 60_000;
/** Between two looks that are kept, ms. */
const APART_MS = 5_000;
/** The mean of less says little, ms. */
const ENOUGH_MS = 10_000;

const endedIn = ({ succeeded, failed, cancelled }: BatchView): number => succeeded + failed + cancelled;

export function createPaces(): Paces {
  let all = new Map<string, { readonly looks: readonly Look[]; readonly perSecond: number | undefined }>();
  return {
    seen: (now, views) => {
      all = new Map(
        views.map((view) => {
          const looks = withLook(all.get(view.id)?.looks ?? [], [now, endedIn(view)]);
          return [view.id, { looks, perSecond: paceOf(now, view, looks) }];
        }),
      );
    },
    of: (id) => all.get(id)?.perSecond,
  };
}

/** The last one is of now, and those before it are apart. A clock that was set back begins anew. */
function withLook(looks: readonly Look[], now: Look): Look[] {
  const before = looks.filter(([at]) => at <= now[0] && now[0] - at <= SPAN_MS);
  const [previous, last] = before.slice(-2);
  const replaces = previous !== undefined && last !== undefined && last[0] - previous[0] < APART_MS;
  return [...(replaces ? before.slice(0, -1) : before), now];
}

function paceOf(now: number, view: BatchView, looks: readonly Look[]): number | undefined {
  const [first] = looks;
  const [at, ended] = looks.at(-1) ?? [now, 0];
  const lately = first ? at - first[0] : 0;
  if (first && lately >= ENOUGH_MS && ended > first[1]) return (1_000 * (ended - first[1])) / lately;
  // nothing has ended since long
  if (ended <= 0 || now - view.activeAt > SPAN_MS) return undefined;
  return (1_000 * ended) / Math.max(1, now - view.createdAt);
}
