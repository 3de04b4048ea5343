/** Those that run, in the order in which they began. */
import { expect, test } from 'vitest';
import { RunList, type Listed } from '../../worker/epoch/tasks/run-list.ts';
import { keptAfterChurn } from '../support/churn.ts';

class Run implements Listed<Run> {
  before: Run | undefined;
  after: Run | undefined;
  readonly name: string;
  readonly load: unknown;

  constructor(name: string, load?: unknown) {
    this.name = name;
    this.load = load;
  }
}

const listOf = (...runs: readonly Run[]): RunList<Run> => {
  const list = new RunList<Run>();
  for (const run of runs) list.add(run);
  return list;
};

test.each(['a', 'b', 'c'])('the others stay in their order without %s, which keeps none of them', (name) => {
  const runs = ['a', 'b', 'c'].map((one) => new Run(one));
  const list = listOf(...runs);
  const gone = runs.find((run) => run.name === name) ?? new Run('none');
  list.remove(gone);
  const left = runs.filter((run) => run !== gone);
  expect([...list]).toEqual(left);
  expect([list.size, list.first, gone.before, gone.after]).toEqual([2, left[0], undefined, undefined]);
  const last = new Run('d');
  list.add(last);
  expect([...list]).toEqual([...left, last]);
});

test('an empty list has a first one again when one is added', () => {
  const [first, second] = [new Run('a'), new Run('b')];
  const list = listOf(first);
  list.remove(first);
  expect([list.size, list.first, [...list]]).toEqual([0, undefined, []]);
  list.add(second);
  expect([list.size, list.first, [...list]]).toEqual([1, second, [second]]);
});

test('all are seen, though each removes itself and the next one', () => {
  const runs = ['a', 'b', 'c', 'd'].map((name) => new Run(name));
  const list = listOf(...runs);
  const seen: string[] = [];
  for (const run of list) {
    seen.push(run.name);
    list.remove(run);
  }
  expect([seen, list.size]).toEqual([['a', 'b', 'c', 'd'], 0]);
});

test('what has passed through it is young garbage', () => {
  const list = new RunList<Run>();
  const kept = keptAfterChurn((number, load) => new Run(String(number), load), {
    add: (run) => list.add(run),
    remove: (run) => list.remove(run),
  });
  expect(kept).toBeLessThan(5_000);
});
