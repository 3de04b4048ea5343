/**
 * The status of a pool that is left out (process/crash-backoff.ts): its Redis is not read and its replicas stay as they are; if
 * it is deleted, it is removed without reading Redis. Pure.
 */
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import type { ReportState } from './report.ts';
import { statusOf } from './status.ts';

/** `pauseMs`: how much longer it is left out, from `now` on, which is in ms since the epoch. */
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
    'the controller has crashed twice while it worked on this pool, so the pool is left out ' +
    `until ${until} UTC: check the keys in its Redis, and the controller's log`;
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
