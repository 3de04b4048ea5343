/**
 * A pool's decisions as they are kept: which of them are worth an entry, and their form in Redis. Pure.
 *
 * A change of replicas is an entry for good. In between, as long as the decision stays the same, one entry stands for all looks:
 * it says since when, and its words and numbers are those of the last look.
 */
import type { Numbers } from '../decide/decision.ts';
import type { Observation } from '../observe/observation.ts';

export interface DecisionRecord {
  /** When it was first made, and when it was last confirmed, ms since the epoch. */
  readonly at: number;
  readonly confirmedAt: number;
  /** Replicas before and after: the same when it only stands. */
  readonly from: number;
  readonly to: number;
  /** Replicas that it wants in the end: less than `to` while some drain. */
  readonly desired: number;
  readonly cause: string;
  readonly reason: string;
  readonly numbers: Numbers;
}

/** As much of the newest entry as it takes to tell whether the next look only confirms it. */
export type Head = Pick<DecisionRecord, 'at' | 'from' | 'to' | 'desired' | 'cause'>;

export function headOf({ at, from, to, desired, cause }: DecisionRecord): Head {
  return { at, from, to, desired, cause };
}

/** Whether a pool of which nothing was kept yet has something to tell: not while it is at zero, or was never read. */
export function isWorthABeginning({
  known,
  cause,
  desired,
  waiting,
  replicas,
  scaled,
}: Observation): boolean {
  return scaled !== undefined || cause === 'Fallback' || (known && desired + waiting + replicas > 0);
}

/** The entry of an observation; `head` is the newest one so far. `same`: it takes that one's place. */
export function decisionAfter(
  head: Head | undefined,
  { at, scaled, wanted, desired, cause, reason, numbers }: Observation,
): { readonly record: DecisionRecord; readonly same: boolean } {
  const { from, to } = scaled ?? { from: wanted, to: wanted };
  const time = Math.round(at);
  const record = { at: time, confirmedAt: time, from, to, desired, cause, reason, numbers };
  const same =
    head !== undefined &&
    scaled === undefined &&
    head.from === head.to &&
    head.to === to &&
    head.desired === desired &&
    kindOf(head.cause) === kindOf(cause);
  return { record: same ? { ...record, at: head.at } : record, same };
}

export function packDecision(record: DecisionRecord): string {
  return JSON.stringify(record);
}

/** `undefined` for a text that is no decision. */
export function parseDecision(text: string): DecisionRecord | undefined {
  try {
    const found = JSON.parse(text) as Partial<DecisionRecord> | null;
    const whole =
      typeof found?.reason === 'string' && [found.at, found.confirmedAt, found.to].every(Number.isFinite);
    return whole ? (found as DecisionRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** Enough, or not yet few enough: with every task that comes and goes, a pool may turn from the one to the other. */
function kindOf(cause: string): string {
  return cause === 'Enough' || cause === 'WithinWindow' ? 'steady' : cause;
}
