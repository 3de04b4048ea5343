/**
 * Outcomes that Redis has refused to settle, until each of them is settled or reported. A refused batch is cut in halves until
 * the one outcome is found that makes the turn fail; that one becomes a dead letter with the reason, all others settle.
 * Pure: times are arguments.
 *
 *   many ──refused──▶ two halves
 *   one  ──refused three times──▶ dead letter ──refused──▶ dead letter without notifying clients ──refused──▶ deferred
 *   one  ──refused by a state of the server (no memory, a key of another type)──▶ deferred
 *   many ──the server of their results is away──▶ deferred
 *
 * Deferred outcomes are resent every DEFERRED_MS while the worker lives; their tasks stay in flight, and other work continues. A
 * worker that drains hands them back to the queue instead, except those that only wait for memory or for a server: those it resends as long
 * as it can, because most servers recover, and the task need not run twice.
 */
import type { Finished } from '../../queue/outcomes/outcome.ts';
import type { Settled } from '../../queue/workers/turn.ts';
import type { TakenOutcomes } from './batch.ts';
import type { TurnRefusal } from './refusal.ts';

export interface OutcomePart {
  readonly entries: readonly Finished[];
  /** The same, as a turn sends them, if they are in that form already. */
  readonly settled?: Settled;
  /** By performance.now(). */
  readonly due: number;
  /** How often it was refused in this form. */
  readonly refusals: number;
  /** Over a connection of its own, so that a request that breaks it breaks no other. */
  readonly apart: boolean;
  readonly stage: 'whole' | 'buried' | 'unreported';
  readonly deferred: boolean;
  /** It was deferred for want of memory, or of the server of its results. */
  readonly awaitingServer: boolean;
}

export interface OutcomeParts {
  /** Outcomes not settled yet, deferred ones included. */
  readonly size: number;
  /** Without deferred ones. */
  readonly open: number;
  /** Deferred outcomes that can be stored as they are once the server has memory, or answers. */
  readonly awaitingServer: number;
  /** Too many are deferred, or too many bytes of them, for the worker to take more tasks. */
  readonly full: boolean;
  /** When the next part is due, by performance.now(); `Infinity` without any. */
  readonly dueAt: number;
  /** Takes the part that is due out. */
  next(now: number): OutcomePart | undefined;
  /** A part was refused. `sure`: the same turn without outcomes was not. Returns the consequence. */
  refused(
    part: OutcomePart,
    refusal: TurnRefusal,
    sure: boolean,
    now: number,
  ): 'cut' | 'again' | 'buried' | 'deferred';
  /** The server accepts outcomes again: deferred ones are due. */
  recovered(now: number): void;
  /** The worker drains: deferred tasks go back to the queue, except those that only wait for the server. */
  release(now: number): void;
}

const DEFERRED_MS = 2_000;
const AGAIN_MS = 100;
const REFUSALS = 3;
/** After this many refusals, an answer of the server in between suffices as proof. */
const DOUBTS = 6;
const FULL_BYTES = 64 << 20;

export function wholePart(entries: readonly Finished[], due = 0, apart = false): OutcomePart {
  return { entries, due, refusals: 0, apart, stage: 'whole', deferred: false, awaitingServer: false };
}

export function takenPart({ entries, settled }: TakenOutcomes): OutcomePart {
  return { ...wholePart(entries), settled };
}

/** `most`: how many outcomes may be deferred while the worker goes on. */
export function createParts(most: () => number): OutcomeParts {
  let parts: OutcomePart[] = [];

  const count = (which: (part: OutcomePart) => boolean): number =>
    parts.reduce((sum, part) => sum + (which(part) ? part.entries.length : 0), 0);

  function deferred(part: OutcomePart, now: number): 'deferred' {
    parts.push({ ...part, due: now + DEFERRED_MS, deferred: true });
    return 'deferred';
  }

  return {
    get size() {
      return count(() => true);
    },
    get open() {
      return count((part) => !part.deferred);
    },
    get awaitingServer() {
      return count((part) => part.deferred && part.awaitingServer);
    },
    get full() {
      const bytes = parts.reduce((sum, part) => sum + (part.deferred ? bytesOf(part) : 0), 0);
      return count((part) => part.deferred) >= most() || bytes > FULL_BYTES;
    },
    get dueAt() {
      return parts.reduce((first, part) => Math.min(first, part.due), Infinity);
    },
    next: (now) => {
      const index = parts.findIndex((part) => part.due <= now);
      return index === -1 ? undefined : parts.splice(index, 1)[0];
    },
    refused: (part, refusal, sure, now) => {
      const { entries } = part;
      const apart = part.apart || refusal.kind === 'rejected' || refusal.kind === 'dropped';
      const refusals = part.refusals + 1;
      if (refusal.kind === 'away')
        return deferred({ ...part, refusals: 0, awaitingServer: canGoBack(part) }, now);
      if (!sure && refusals < DOUBTS && refusal.kind !== 'unsendable') {
        parts.unshift({ ...part, refusals, due: now });
        return 'again';
      }
      if (entries.length > 1) {
        const half = entries.length >> 1;
        parts.unshift(
          wholePart(entries.slice(0, half), now, apart),
          wholePart(entries.slice(half), now, apart),
        );
        return 'cut';
      }
      if (refusal.kind === 'state') {
        const awaitingServer = canGoBack(part) && refusal.noMemory === true;
        return deferred({ ...part, refusals: 0, awaitingServer }, now);
      }
      if (refusals < REFUSALS && refusal.kind !== 'unsendable') {
        parts.push({ ...part, apart, refusals, due: now + AGAIN_MS * refusals });
        return 'again';
      }
      const [entry] = entries;
      if (entry === undefined || entry.outcome.kind === 'release' || part.stage === 'unreported')
        return deferred({ ...part, apart, refusals: 0 }, now);
      const stage = part.stage === 'buried' || entry.outcome.kind === 'dead' ? 'unreported' : 'buried';
      const buried = bury(entry, refusal.reason, stage === 'unreported');
      parts.push({ ...wholePart([buried], now, apart), stage });
      return 'buried';
    },
    recovered: (now) => {
      parts = parts.map((part) => ({ ...part, due: Math.min(part.due, now) }));
    },
    release: (now) => {
      parts = parts.map((part) =>
        part.deferred && !part.awaitingServer && canGoBack(part) ? goingBack(part, now) : part,
      );
    },
  };
}

function bytesOf({ entries }: OutcomePart): number {
  return entries.reduce(
    (sum, { outcome }) => sum + (outcome.kind === 'result' ? outcome.value.length : 0),
    0,
  );
}

const canGoBack = ({ entries }: OutcomePart): boolean =>
  entries.some(({ outcome }) => outcome.kind !== 'release');

function goingBack(part: OutcomePart, now: number): OutcomePart {
  const entries = part.entries.map((entry): Finished => ({ ...entry, outcome: { kind: 'release' } }));
  return wholePart(entries, now);
}

/** Replaces an outcome that cannot be written by a dead letter with the reason. */
function bury(entry: Finished, reason: string, unreported: boolean): Finished {
  const { outcome } = entry;
  const lost = outcome.kind === 'dead' ? outcome.error : `${LOST[outcome.kind]} cannot be stored: ${reason}`;
  const error = unreported ? `${lost} (its id cannot be written either: ${reason})` : lost;
  return { ...entry, outcome: { kind: 'dead', error, ...(unreported && { unreported }) } };
}

const LOST = {
  result: 'it ran, but its result',
  retry: 'its next attempt',
  cancelled: 'that it was cancelled',
  release: 'its way back',
} as const;
