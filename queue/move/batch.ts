/** A batch of a queue that is moved (move/out.lua), and which partition of the destination gets what of it. Pure. */
import { readLetter } from '../dead-letter-format.ts';
import { partitionOf } from '../partitions.ts';
import { taskId } from '../task.ts';

/** What is moved in batches, each of which arrives once, in the order in which it is moved. */
export const KINDS = ['suspects', 'queue', 'delayed', 'dead', 'stats'] as const;
export type Kind = (typeof KINDS)[number];

export interface Batch {
  /** Increases with each batch of a move. */
  readonly number: string;
  readonly kind: Kind;
  /** As move/out.lua describes them. */
  readonly items: readonly Buffer[];
}

/** Number of items in a task, a dead letter or a counter of this kind. */
export const ITEMS: Record<Kind, number> = { suspects: 1, queue: 1, delayed: 2, dead: 1, stats: 2 };

/** Fields of the counters that describe what waits in the old place. */
const LOCAL = new Set(['asideSince', 'asideAlone', 'marks']);

/**
 * The items for each partition, in their order. Due times are moved by `aheadMs`, by which the destination's clock is ahead of the
 * source's.
 */
export function distribute({ kind, items }: Batch, partitions: number, aheadMs: number): Buffer[][] {
  const shares = Array.from({ length: partitions }, (): Buffer[] => []);
  const width = ITEMS[kind];
  for (let i = 0; i + width <= items.length; i += width) {
    const [first, second] = items.slice(i, i + width) as [Buffer, Buffer | undefined];
    if (kind === 'stats' && LOCAL.has(first.toString())) continue;
    const share = shares[partitions === 1 ? 0 : partitionOfItem(kind, first, second, partitions)];
    if (kind === 'delayed' && second) share?.push(later(first, aheadMs), second);
    else share?.push(...(second ? [first, second] : [first]));
  }
  return shares;
}

function partitionOfItem(kind: Kind, first: Buffer, second: Buffer | undefined, partitions: number): number {
  if (kind === 'stats') return 0;
  if (kind === 'dead') {
    const { id, raw } = readLetter(first);
    return partitionOf(id ?? taskId(raw), partitions);
  }
  return partitionOf(
    taskId(kind === 'delayed' && second ? taskOfDelayed(second) : taskOf(first)),
    partitions,
  );
}

const BAR = 0x7c;

/** The bytes of the tasks; none of dead letters and counters. */
export function tasksOf({ kind, items }: Batch): Buffer[] {
  if (kind === 'dead' || kind === 'stats') return [];
  if (kind === 'delayed') return items.filter((_, i) => i % 2 === 1).map(taskOfDelayed);
  return items.map(taskOf);
}

/** The bytes of a task after its past, as move/in.lua reads them. */
function taskOf(item: Buffer): Buffer {
  return item.subarray(item.indexOf(BAR) + 1);
}

/** The bytes of a task in a member of the delayed set: all of it if something else wrote it. */
function taskOfDelayed(member: Buffer): Buffer {
  const head = /^[^|]*\|\d+\|\d+\|/.exec(member.toString('latin1', 0, 200));
  return head ? member.subarray(head[0].length) : member;
}

/** A score in ms, as text, `byMs` later; one that is no number stays. */
export function later(score: Buffer | string, byMs: number): Buffer {
  const at = Number(score.toString());
  return Buffer.from(Number.isFinite(at) ? String(at + byMs) : score);
}
