/** The flags that set limits of a queue, and what they change. Pure. */
import type { KeyLimits, QueueLimits } from '../../queue/queue.ts';

const NONE = 'none';

/** Each of them may be `none`, which removes that limit. */
export interface LimitFlags {
  readonly rate?: string;
  readonly burst?: number | 'none';
  readonly maxRunning?: number | 'none';
  readonly keyField?: string;
  readonly keyRate?: string;
  readonly keyBurst?: number | 'none';
  readonly keyMaxRunning?: number | 'none';
}

export function hasChanges(flags: LimitFlags): boolean {
  const { rate, burst, maxRunning, keyField, keyRate, keyBurst, keyMaxRunning } = flags;
  return [rate, burst, maxRunning, keyField, keyRate, keyBurst, keyMaxRunning].some(
    (flag) => flag !== undefined,
  );
}

/** The limits after what flags change of them; empty if none are left. */
export function changed(before: QueueLimits, flags: LimitFlags): QueueLimits {
  const { perKey, ...own } = before;
  const pair = merged(own, { rate: flags.rate, burst: flags.burst, concurrency: flags.maxRunning });
  const key = merged(perKey ?? {}, {
    field: flags.keyField,
    rate: flags.keyRate,
    burst: flags.keyBurst,
    concurrency: flags.keyMaxRunning,
  });
  const { field, ...limitsOfKey } = key as Partial<KeyLimits>;
  // without a limit left, a field has nothing to say; one that is given is refused with its reason
  const keeps = Object.keys(limitsOfKey).length > 0 || (flags.keyField !== undefined && field !== undefined);
  return { ...pair, ...(keeps && { perKey: key as unknown as KeyLimits }) };
}

function merged(before: object, flags: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const after: Record<string, unknown> = { ...before };
  for (const [name, value] of Object.entries(flags)) {
    if (value === NONE) delete after[name];
    else if (value !== undefined) after[name] = value;
  }
  // a burst is one of the rate that was there
  if (flags['rate'] !== undefined && flags['burst'] === undefined) delete after['burst'];
  if (after['rate'] === undefined && flags['burst'] === undefined) delete after['burst'];
  return after;
}
