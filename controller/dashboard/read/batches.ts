/**
 * The batches of one pool: a page of the open ones and the last that ended, in one bounded read of each queue, only while
 * somebody looks at the pool.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Paces } from '../../../queue/batches/pace.ts';
import { readBatchPages, type SeenBatch } from '../../../queue/batches/read-pages.ts';
import { cancelBatch, readBatchPage } from '../../../queue/batches/record.ts';
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

export function createBatchReader(showTasks: boolean): BatchReader {
  /** So that an id cannot be guessed from its digest. */
  const secret = randomBytes(32);
  const refOf = ({ queue }: QueueKeys, id: string): string =>
    createHmac('sha256', secret).update(`${queue}\n${id}`).digest('base64url').slice(0, 22);

  function rowOf({ keys, view, rate }: SeenBatch, name = keys.queue): BatchRow {
    const { state, size, succeeded, failed, cancelled, left, waiting, inner } = view;
    const { id, why, createdAt, activeAt, endedAt } = view;
    return {
      ref: refOf(keys, id),
      queue: name,
      id: showTasks ? shortId(id, LONGEST_ID) : null,
      state: plainText(state, LONGEST_ID),
      size,
      succeeded,
      failed,
      cancelled,
      left,
      dead: waiting,
      inner,
      rate: rate === undefined ? null : Number(rate.toPrecision(2)),
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
    const most = { open: OPEN_READ, ended: ENDED_SHOWN };
    const { all, open, ended } = await readBatchPages(redisOf, queues, paces, most);
    const shown = [...open.slice(0, OPEN_SHOWN), ...ended.slice(0, ENDED_SHOWN)];
    return { ...all, list: shown.map((batch) => rowOf(batch, records?.queue)) };
  }

  return {
    follow: () => {
      const paces = new Map<string, Paces>();
      return (place) => read(place, paces);
    },
    cancel: async (redisOf, queues, ref) => {
      for (const keys of queues) {
        const { list } = await readBatchPage(redisOf, keys, 'open', OPEN_READ);
        const named = list.find(({ id }) => refOf(keys, id) === ref);
        if (named)
          return (await cancelBatch(redisOf, keys, named.id, 'it was cancelled')) === 'cancelled' ? 1 : 0;
      }
      return 0;
    },
  };
}
