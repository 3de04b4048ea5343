/** A batch in words and as a bar. Pure. */
import type { BatchRow } from '../controller/dashboard/api.ts';
import { formatMs, plural, rate } from './format.ts';

/** So long without an event, an open batch is said to stand still, ms. */
const STILL_MS = 60_000;

/** The width of what must be seen, in thousandths of the bar. */
const FEWEST = 5;

const OVER: ReadonlySet<string> = new Set(['ended', 'failed', 'cancelled']);

export const isOver = ({ state }: Pick<BatchRow, 'state'>): boolean => OVER.has(state);

export interface BatchTag {
  readonly text: string;
  readonly tone: 'good' | 'warn' | 'bad' | 'calm';
}

export function stateOf({ state, dead, failed }: BatchRow): BatchTag {
  if (dead > 0) return { text: 'waits for dead letters', tone: 'warn' };
  switch (state) {
    case 'ended':
      return failed > 0 ? { text: 'ended, with failures', tone: 'warn' } : { text: 'ended', tone: 'good' };
    case 'failing':
    case 'failed':
      return { text: state, tone: 'bad' };
    default:
      return { text: state, tone: 'calm' };
  }
}

/** Why it does not end, or did not succeed; `undefined` if there is nothing to say. */
export function describeBatch(batch: BatchRow, now: number): string | undefined {
  const { state, dead, inner, why, activeAt } = batch;
  const still = now - activeAt > STILL_MS ? formatMs(now - activeAt) : undefined;
  if (state === 'failed' || state === 'failing') return why ?? 'A part failed, and the rest is cancelled.';
  if (state === 'cancelled') return undefined;
  if (state === 'cancelling') return 'The parts that run are being aborted.';
  if (isOver(batch)) return undefined;
  if (dead > 0)
    return `It ends when ${plural(dead, 'dead letter is', 'dead letters are')} requeued and ${dead === 1 ? 'succeeds' : 'succeed'}, or dropped.`;
  if (state === 'adding')
    return still === undefined
      ? 'Its client is still adding parts.'
      : `Its client has added nothing for ${still}: if it is gone, cancel the batch.`;
  if (inner > 0) return `It waits for ${plural(inner, 'batch', 'batches')} inside of it.`;
  return still === undefined ? undefined : `No part has ended for ${still}.`;
}

/** `62/s, about 15 s left`; without a time where it does not depend on the pace. `undefined` if no part ended lately. */
export function paceOf(batch: BatchRow): string | undefined {
  const { state, left, dead, inner, rate: perSecond } = batch;
  if (perSecond === null || perSecond <= 0 || isOver(batch) || left <= dead + inner) return undefined;
  if (state !== 'running') return rate(perSecond);
  const seconds = Math.ceil((left - dead - inner) / perSecond);
  return `${rate(perSecond)}, about ${formatMs(1_000 * seconds)} left`;
}

export interface Bar {
  /** Thousandths of the parts that have ended. */
  readonly ended: number;
  readonly pieces: readonly {
    readonly of: 'succeeded' | 'failed' | 'cancelled';
    readonly from: number;
    readonly width: number;
  }[];
}

/** In thousandths; a failed part of a million is still to be seen. */
export function barOf({ size, succeeded, failed, cancelled }: BatchRow): Bar {
  const share = (count: number): number => (size > 0 ? Math.min(1_000, (1_000 * count) / size) : 0);
  const failures = failed > 0 ? Math.max(FEWEST, share(failed)) : 0;
  let room = 1_000 - failures;
  const take = (width: number): number => {
    const taken = Math.min(room, width);
    room -= taken;
    return taken;
  };
  const widths = { succeeded: take(share(succeeded)), failed: failures, cancelled: take(share(cancelled)) };
  let from = 0;
  const pieces = (['succeeded', 'failed', 'cancelled'] as const).flatMap((of) => {
    const width = widths[of];
    const piece = { of, from, width };
    from += width;
    return width > 0 ? [piece] : [];
  });
  return { ended: share(succeeded + failed + cancelled), pieces };
}
