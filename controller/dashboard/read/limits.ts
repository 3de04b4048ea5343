/** The limits of one pool's queues: in one bounded read of each, only while somebody looks at the pool. */
import { showLimits, type LimitsView } from '../../../queue/limits/limits.ts';
import { usageOf } from '../../../queue/limits/usage.ts';
import { shortId } from '../../../queue/task.ts';
import { plainText } from '../../../runtime/plain-text.ts';
import type { LimitedKeyRow, LimitRow, QueueLimitsView } from '../api.ts';
import { LONGEST_ID } from './detail-rows.ts';
import type { QueuesPlace } from './details.ts';

/** Of each queue. */
const KEYS_SHOWN = 10;

export async function readLimits(
  { redisOf, queues, records }: QueuesPlace,
  showTasks: boolean,
): Promise<readonly QueueLimitsView[]> {
  // a queue in partitions has none
  if (records) return [];
  const each = await Promise.all(
    queues.map(async (keys) => {
      const view = await showLimits(redisOf(keys), keys, showTasks ? KEYS_SHOWN : 0);
      return view ? [viewOf(keys.queue, view, showTasks)] : [];
    }),
  );
  return each.flat();
}

function viewOf(queue: string, view: LimitsView, showTasks: boolean): QueueLimitsView {
  const { by, at, keys, limits } = view;
  const most = limits.perKey?.concurrency ?? null;
  return {
    queue,
    by: plainText(by, LONGEST_ID),
    at,
    limits: usageOf(view).map((usage): LimitRow => Object.assign(usage, { most: usage.most ?? null })),
    keys: showTasks
      ? keys.map(({ key, held, running, nextAt }): LimitedKeyRow => {
          const runs = most === null ? null : running;
          return { key: shortId(key, LONGEST_ID), held, running: runs, most, nextAt: nextAt ?? null };
        })
      : [],
  };
}
