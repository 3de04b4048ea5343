/** The tasks of a process by their numbers. */
import { expect, test } from 'vitest';
import { NumberedTasks } from '../../worker/handlers/numbered-tasks.ts';
import { keptAfterChurn } from '../support/churn.ts';

interface Numbered {
  readonly number: number;
  readonly load?: unknown;
}

function addTo(tasks: NumberedTasks<Numbered>): number {
  const number = tasks.nextNumber();
  tasks.add({ number });
  return number;
}

const numbersIn = (tasks: NumberedTasks<Numbered>): number[] => tasks.values().map(({ number }) => number);

test('numbers follow one another, and an answered one is of no task any more', () => {
  const tasks = new NumberedTasks<Numbered>();
  expect([addTo(tasks), addTo(tasks), addTo(tasks)]).toEqual([1, 2, 3]);
  tasks.delete(2);
  tasks.delete(2);
  expect([tasks.size, tasks.get(1)?.number, tasks.get(2), tasks.get(4), tasks.get(17)]).toEqual([
    2,
    1,
    undefined,
    undefined,
    undefined,
  ]);
  tasks.clear();
  expect([tasks.size, numbersIn(tasks), addTo(tasks)]).toEqual([0, [], 4]);
});

test('a task that stays for long keeps its number, and no other one gets into its place', () => {
  const tasks = new NumberedTasks<Numbered>();
  const stays = addTo(tasks);
  const seen = new Set<number>();
  for (let i = 0; i < 100; i++) {
    const number = addTo(tasks);
    expect(tasks.get(number)?.number).toBe(number);
    expect(tasks.get(stays)?.number).toBe(stays);
    seen.add(number);
    tasks.delete(number);
  }
  expect([seen.size, tasks.size, numbersIn(tasks)]).toEqual([100, 1, [stays]]);
});

test('there is room for as many as there are, in the order of their numbers', () => {
  const tasks = new NumberedTasks<Numbered>();
  const all = Array.from({ length: 1_000 }, () => addTo(tasks));
  expect(numbersIn(tasks)).toEqual(all);
  for (const number of all.filter((one) => one % 3 > 0)) tasks.delete(number);
  expect(numbersIn(tasks)).toEqual(all.filter((one) => one % 3 === 0));
});

test('what has passed through it is young garbage', () => {
  const tasks = new NumberedTasks<Numbered>();
  const kept = keptAfterChurn((_, load) => ({ number: tasks.nextNumber(), load }), {
    add: (one) => tasks.add(one),
    remove: ({ number }) => tasks.delete(number),
  });
  expect(kept).toBeLessThan(5_000);
});
