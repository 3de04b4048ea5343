/**
 * What a pool says of itself while it is left out (process/crash-backoff.ts): nothing is read of its Redis, and its replicas stay as they are; one
 * that is deleted goes without it. Pure.
 */
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import type { ReportState } from './report.ts';
import { statusOf } from './status.ts';

/** For `pauseMs` from `now` on, ms since the epoch. */
export function leftOutStatus(
  pool: WorkerPool,
  { written, poison }: Pick<ReportState, 'written' | 'poison'>,
  pauseMs: number,
  now: number,
): WorkerPoolStatus {
  const [until = ''] = new Date(now + pauseMs)
    .toISOString()
    .replace('T', ' ')
    .split(/:\d\d\./);
  const why =
    'the controller has ended twice while it was at this pool, so the pool is left out ' +
    `until ${until} UTC: look at what is in its Redis, and at the controller's log`;
  return statusOf({
    pool: { ...pool, status: written?.status ?? pool.status ?? {} },
    sampled: { kind: 'unknown', reason: 'Quarantined', why },
    step: undefined,
    trouble: { reason: 'Quarantined', message: why },
    wake: '',
    poison: poison?.note,
    selector: undefined,
    now: new Date(now),
  });
}
