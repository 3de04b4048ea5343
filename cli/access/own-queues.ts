/** Refuses what only Millrace's own queues can do for a pool that runs the tasks of another library. */
import { queuesOf } from '../../kube/workerpool.ts';
import { UsageError } from '../../runtime/program.ts';
import type { Place } from './place.ts';

/** Throws `UsageError` for a pool with a source. */
export function checkOwnQueues({ pool }: Place): void {
  if (!pool?.spec.source) return;
  const { metadata, spec } = pool;
  throw new UsageError(
    `pool "${metadata.name}" runs the tasks of another library (${queuesOf(spec).join(', ')}): use that library for this; ` +
      `millrace pools, workers, explain and doctor show the pool`,
  );
}
