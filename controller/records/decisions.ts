/**
 * A pool's decisions as they are stored: which of them get an entry, and their format in Redis. Pure.
 *
 * A change of replicas is a permanent entry. In between, while the decision stays the same, a single entry is updated: it has
 * the time of the first such decision, and the reason and numbers of the last one.
 */
import type { Numbers } from '../decide/decision.ts';
import type { Observation } from '../observe/observation.ts';

export interface DecisionRecord {
  /** When it was first made and last confirmed, ms since the epoch. */
  readonly at: number;
  readonly confirmedAt: number;
  /** Replicas before and after; equal if nothing was changed. */
  readonly from: number;
  readonly to: number;
  /** The desired replicas: fewer than `to` while some drain. */
  readonly desired: number;
  readonly cause: string;
  readonly reason: string;
  readonly numbers: Numbers;
}

/** The part of the newest entry that shows whether the next decision only confirms it. */
export type Head = Pick<DecisionRecord, 'at' | 'from' | 'to' | 'desired' | 'cause'>;

export function headOf({ at, from, to, desired, cause }: DecisionRecord): Head {
  return { at, from, to, desired, cause };
}

/** Whether to store the first decision of a pool: not while it is at zero, or has never been read. */
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

/** The entry of an observation; `head` is the newest one so far. `same`: it replaces that one. */
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

/** With what all records of this decision begin, however often it is confirmed. */
export function packDecision(record: DecisionRecord): { readonly head: string; readonly text: string } {
  const { at, ...rest } = record;
  return { head: `{"at":${at},`, text: JSON.stringify({ at, ...rest }) };
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

/** `Enough` and `WithinWindow` are treated alike: a pool may alternate between the two with every task. */
function kindOf(cause: string): string {
  return cause === 'Enough' || cause === 'WithinWindow' ? 'steady' : cause;
}
