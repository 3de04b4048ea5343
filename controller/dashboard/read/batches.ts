/**
 * The batches of one pool: a page of the open ones and the last that ended, in one bounded read of each queue, only while
 * somebody looks at the pool.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { createPaces, type Paces } from '../../../queue/batches/pace.ts';
import { cancelBatch, readBatchPage, type BatchView } from '../../../queue/batches/record.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import type { RedisOf } from '../../../queue/location.ts';
import { shortId } from '../../../queue/task.ts';
import { plainText } from '../../../runtime/plain-text.ts';
import type { BatchesView, BatchRow } from '../api.ts';
import { LONGEST_ID } from './detail-rows.ts';
import type { QueuesPlace } from './details.ts';

export interface BatchReader {
  /** Returns a function that reads the batches of one pool, each time it is called, and sees how fast they are. */
  follow(): (place: QueuesPlace) => Promise<BatchesView>;
  /** Cancels the batch that `ref` names. Resolves to 0 if it is over, or not among those that are shown any more. */
  cancel(redisOf: RedisOf, queues: readonly QueueKeys[], ref: string): Promise<number>;
}

/** Of each queue. */
const OPEN_READ = 100;
const OPEN_SHOWN = 50;
const ENDED_SHOWN = 10;
const LONGEST_WHY = 500;

const NONE: BatchesView = { open: 0, ended: 0, list: [] };

export function createBatchReader(showTasks: boolean): BatchReader {
  /** So that an id cannot be guessed from its digest. */
  const secret = randomBytes(32);
  const refOf = ({ queue }: QueueKeys, id: string): string =>
    createHmac('sha256', secret).update(`${queue}\n${id}`).digest('base64url').slice(0, 22);

  function rowOf(keys: QueueKeys, view: BatchView, perSecond: number | undefined): BatchRow {
    const { state, size, succeeded, failed, cancelled, left, waiting, inner } = view;
    const { id, why, createdAt, activeAt, endedAt } = view;
    return {
      ref: refOf(keys, id),
      queue: keys.queue,
      id: showTasks ? shortId(id, LONGEST_ID) : null,
      state: plainText(state, LONGEST_ID),
      size,
      succeeded,
      failed,
      cancelled,
      left,
      dead: waiting,
      inner,
      rate: perSecond === undefined ? null : Number(perSecond.toPrecision(2)),
      createdAt,
      activeAt,
      endedAt: endedAt ?? null,
      why: showTasks && why !== undefined ? plainText(why, LONGEST_WHY) : null,
    };
  }

  async function read(
    { redisOf, queues, records }: QueuesPlace,
    paces: Map<string, Paces>,
  ): Promise<BatchesView> {
    // a queue in partitions has none
    if (records) return NONE;
    const each = await Promise.all(
      queues.map(async (keys) => {
        const redis = redisOf(keys);
        const [open, ended] = await Promise.all([
          readBatchPage(redis, keys, 'open', OPEN_READ),
          readBatchPage(redis, keys, 'ended', ENDED_SHOWN),
        ]);
        const pace = paces.get(keys.queue) ?? createPaces();
        paces.set(keys.queue, pace);
        pace.seen(open.now, open.list);
        return {
          all: { open: open.all, ended: ended.all },
          open: open.list.map((view) => rowOf(keys, view, pace.of(view.id))),
          ended: ended.list.map((view) => rowOf(keys, view, undefined)),
        };
      }),
    );
    const open = each.flatMap((one) => one.open).toSorted(urgency);
    const ended = each.flatMap((one) => one.ended).toSorted((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0));
    return {
      open: each.reduce((sum, { all }) => sum + all.open, 0),
      ended: each.reduce((sum, { all }) => sum + all.ended, 0),
      list: [...open.slice(0, OPEN_SHOWN), ...ended.slice(0, ENDED_SHOWN)],
    };
  }

  return {
    follow: () => {
      const paces = new Map<string, Paces>();
      return (place) => read(place, paces);
    },
    cancel: async (redisOf, queues, ref) => {
      for (const keys of queues) {
        const { list } = await readBatchPage(redisOf(keys), keys, 'open', OPEN_READ);
        const named = list.find(({ id }) => refOf(keys, id) === ref);
        if (named)
          return (await cancelBatch(redisOf(keys), keys, named.id, 'it was cancelled')) === 'cancelled'
            ? 1
            : 0;
      }
      return 0;
    },
  };
}

/** What waits for somebody first, then the newest. */
function urgency(a: BatchRow, b: BatchRow): number {
  return Number(b.dead > 0) - Number(a.dead > 0) || b.createdAt - a.createdAt;
}
