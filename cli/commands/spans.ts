/** Converts samples, and entries of the timeline, to the spans of a history. Pure. */
import { changesBetween } from '../../controller/observe/observation.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import type { TimelineEntry } from '../../queue/pool/timeline.ts';
import type { HistorySpan } from '../../simulate/history.ts';

/**
 * What happened since the last sample; at the first one, what waits has just come. `debt`: what seemed to be gone at the last one:
 * a task that an idle worker's blocking move has, and no turn yet, is neither in the list nor counted as taken, and has not come
 * anew when it is. `owed` is the debt of the next call.
 */
export function spanBetween(
  last: PoolSample | undefined,
  sample: PoolSample,
  now: number,
  debt: number,
): { readonly span: HistorySpan; readonly owed: number } {
  const changes = last && changesBetween(last, sample);
  if (!last || !changes) {
    const span = { from: now, to: now, arrived: sample.waiting, ended: 0, serviceMs: 0 };
    return { span, owed: 0 };
  }
  const { sinceMs, arrived, completed, failed, retried, serviceMs } = changes;
  const held = sample.counters.taken + sample.waiting - last.counters.taken - last.waiting;
  const paid = Math.min(debt, arrived);
  const span = {
    from: now - sinceMs,
    to: now,
    arrived: arrived - paid,
    ended: completed + failed + retried,
    serviceMs,
  };
  return { span, owed: Math.max(0, -held) };
}

export function spansOf(entries: readonly TimelineEntry[]): HistorySpan[] {
  return entries.map(({ at, spanMs, arrived, peak, peakMs, completed, failed, retried, serviceMs }) => {
    const from = at - spanMs;
    return {
      from,
      to: at,
      arrived,
      peak: { tasks: peak, at: from + peakMs },
      ended: completed + failed + retried,
      serviceMs,
    };
  });
}

/** The mean start time of the replicas that became ready, ms; `undefined` if none did. */
export function startsOf(entries: readonly TimelineEntry[]): number | undefined {
  const starts = entries.reduce((sum, entry) => sum + entry.starts, 0);
  const took = entries.reduce((sum, entry) => sum + entry.startMs, 0);
  return starts > 0 ? took / starts : undefined;
}
