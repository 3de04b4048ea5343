/** Parts of batches that a turn settles, in the form in which it sends them. Pure. */
import { partNumber, type PartMark } from '../batch-mark.ts';
import { listed, pack, type PackableObject } from './pack.ts';

/** Parts that say the same of their batch, by their positions in the lists of a `Settled`, from 0. */
export interface PartGroup {
  readonly mark: PartMark;
  readonly results: readonly number[];
  readonly dead: readonly number[];
  readonly cancelled: readonly number[];
  /** Positions in `spawned`: tasks that are added to the batch. */
  readonly spawned: readonly number[];
}

/** A group as turn.lua reads it. `all`: the results that its positions are in. */
export function packedGroup(
  { mark, results, dead, cancelled, spawned }: PartGroup,
  all: readonly { readonly id: string | Buffer }[],
): PackableObject {
  const positions = (list: readonly number[]): readonly number[] | undefined =>
    listed(list.map((at) => at + 1));
  const numbers: number[] = [];
  const named: number[] = [];
  let ascend = true;
  let before = -1;
  for (const at of results) {
    const number = partNumber(mark.id, all[at]?.id ?? '');
    if (number === undefined) {
      named.push(at + 1);
      continue;
    }
    numbers.push(number);
    if (number <= before) ascend = false;
    before = number;
  }
  return {
    id: mark.id,
    size: mark.size,
    policy: mark.onFailure,
    ...packedThen(mark.then),
    results: listed(runsOf(results.map((at) => at + 1))),
    numbers: listed(runsOf(ascend ? numbers : [...new Set(numbers)].toSorted((a, b) => a - b))),
    named: numbers.length > 0 ? listed(runsOf(named)) : undefined,
    dead: positions(dead),
    cancelled: positions(cancelled),
    spawned: positions(spawned),
  };
}

/** Ascending numbers as runs: where each begins, and its length. */
function runsOf(list: readonly number[]): number[] {
  const runs: number[] = [];
  for (let from = 0, to = 1; from < list.length; from = to++) {
    const first = list[from] ?? 0;
    while (list[to] === first + to - from) to++;
    runs.push(first, to - from);
  }
  return runs;
}

/** The fields of a `then` task as scripts read them. */
export function packedThen(then: PartMark['then']): PackableObject {
  if (!then) return {};
  const { raw, id, batch: outer } = then;
  return {
    then: raw,
    thenId: id,
    thenBatch: outer?.id,
    thenSize: outer?.size,
    thenOuter: outer && packedOuter(outer),
  };
}

/** What no worker reads of a `then` task that does not run: it is a part of another batch, and all that is known of that may be in it. */
function packedOuter({ onFailure, then }: PartMark): Buffer | undefined {
  return onFailure === undefined && then === undefined
    ? undefined
    : pack({ policy: onFailure, ...packedThen(then) });
}
