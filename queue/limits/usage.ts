/** Each limit of a queue by itself: how full it is, and how many tasks wait for it. Pure. */
import { defaultBurst, describeLimits, tryRate } from './definition.ts';
import type { LimitsView } from './limits.ts';

export interface LimitUsage {
  /** `rate` and `concurrency` of the queue; `perKey`: those of each key. */
  readonly kind: 'rate' | 'concurrency' | 'perKey';
  /** `100/s (burst 100)`, `20 at once`, `for each customer 5/s and 1 at once`. */
  readonly text: string;
  /** Of `most` tasks that may begin at once, those that may not now, or tasks in flight; of keys, those that are full. */
  readonly used: number;
  /** `undefined` for keys. */
  readonly most: number | undefined;
  /** Tasks that wait for it; the same one may wait for two limits. */
  readonly held: number;
}

export function usageOf({ limits, mayBegin, running, waiting, held, heldKeys }: LimitsView): LimitUsage[] {
  const { rate, burst, concurrency, perKey } = limits;
  const usage: LimitUsage[] = [];
  if (rate !== undefined) {
    const parsed = tryRate(rate);
    const most = burst ?? (parsed ? defaultBurst(parsed) : 1);
    const left = Math.min(most, Math.max(0, mayBegin ?? most));
    const text = describeLimits({ rate, burst: most });
    usage.push({ kind: 'rate', text, used: most - left, most, held: Math.max(0, waiting - left) });
  }
  if (concurrency !== undefined) {
    const room = Math.max(0, concurrency - running);
    const text = describeLimits({ concurrency });
    usage.push({
      kind: 'concurrency',
      text,
      used: running,
      most: concurrency,
      held: Math.max(0, waiting - room),
    });
  }
  if (perKey) {
    const text = describeLimits({ perKey });
    usage.push({ kind: 'perKey', text, used: heldKeys, most: undefined, held });
  }
  return usage;
}
