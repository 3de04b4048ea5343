/** Tasks that no worker has survived. */
import type { RetryPolicy } from '../../queue/outcomes/retry.ts';
import type { Past } from '../../queue/workers/past.ts';

/** The default of a policy. */
export const MAX_DELIVERIES = 5;

/**
 * Whether a task is given up without another run: too many workers were lost with it, and the last one held nothing else, so
 * that no task is condemned for its company. One that always has company, from tasks of more urgent queues, is given up
 * eventually.
 */
export function isPoison(
  { deliveries, company = 1 }: Past,
  { maxDeliveries = MAX_DELIVERIES }: RetryPolicy,
): boolean {
  return deliveries >= maxDeliveries && (company === 1 || deliveries >= 2 * maxDeliveries + 1);
}

/** The error of a poison task. `exitReasonOf`: the exit reason of a worker that was lost, if one is known. */
export async function poisonError(
  { deliveries, lastWorker }: Past,
  exitReasonOf: (worker: string) => Promise<string | undefined>,
): Promise<string> {
  const times = deliveries === 1 ? 'delivered once, and its worker was lost' : undefined;
  const what = times ?? `delivered ${deliveries} times, and each time its worker was lost`;
  if (lastWorker === undefined) return what;
  // without Redis the reason is unknown, but then there is no next turn either
  const reason = await exitReasonOf(lastWorker).catch(() => undefined);
  return `${what}; the last one, ${lastWorker}: ${reason ?? 'its exit reason is unknown'}`;
}
