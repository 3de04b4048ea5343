/** The batches of several queues, for somebody who looks at them again and again: a bounded read of each queue. */
import type { QueueKeys } from '../keys.ts';
import type { RedisOf } from '../location.ts';
import { createPaces, type Paces } from './pace.ts';
import { readBatchPage, stillOpen, type BatchView } from './record.ts';

export interface SeenBatch {
  readonly keys: QueueKeys;
  readonly view: BatchView;
  /** Parts a second, of an open one; `undefined` if that is not known. */
  readonly rate: number | undefined;
}

export interface BatchPages {
  /** How many there are, read or not. */
  readonly all: { readonly open: number; readonly ended: number };
  /** What waits for somebody first, then the newest. */
  readonly open: readonly SeenBatch[];
  /** The last first. */
  readonly ended: readonly SeenBatch[];
}

/** `paces`: by queue, kept from one read to the next. `most`: batches that are read of each queue. */
export async function readBatchPages(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  paces: Map<string, Paces>,
  most: { readonly open: number; readonly ended: number },
): Promise<BatchPages> {
  const each = await Promise.all(
    queues.map(async (keys) => {
      const [open, ended] = await Promise.all([
        readBatchPage(redisOf, keys, 'open', most.open),
        readBatchPage(redisOf, keys, 'ended', most.ended),
      ]);
      const pace = paces.get(keys.queue) ?? createPaces();
      paces.set(keys.queue, pace);
      pace.seen(open.now, open.list);
      return {
        all: { open: open.all, ended: ended.all },
        open: stillOpen(open.list, ended.list).map((view): SeenBatch => ({
          keys,
          view,
          rate: pace.of(view.id),
        })),
        ended: ended.list.map((view): SeenBatch => ({ keys, view, rate: undefined })),
      };
    }),
  );
  return {
    all: {
      open: each.reduce((sum, { all }) => sum + all.open, 0),
      ended: each.reduce((sum, { all }) => sum + all.ended, 0),
    },
    open: each.flatMap((one) => one.open).toSorted((a, b) => urgency(a.view, b.view)),
    ended: each.flatMap((one) => one.ended).toSorted((a, b) => (b.view.endedAt ?? 0) - (a.view.endedAt ?? 0)),
  };
}

function urgency(a: BatchView, b: BatchView): number {
  return Number(b.waiting > 0) - Number(a.waiting > 0) || b.createdAt - a.createdAt;
}
