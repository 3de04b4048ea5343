/** Which tasks a process has begun: what is read of the file that it shares with the worker. */
import { writeSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openBegunTasks } from '../../worker/handlers/begun-tasks.ts';

test.each([
  ['nothing', [], [1, 1_024, 0xffff_ffff], []],
  ['some', [1, 2], [1, 2, 3, 1_025, 1_026], [1, 2]],
  ['a later one in the same slot', [1_025], [1, 1_025, 2_049], [1, 1_025]],
  [
    'numbers that have started over',
    [0xffff_ffff, 1_023],
    [0xffff_ffff, 0xffff_fffe, 1_023],
    [0xffff_ffff, 1_023],
  ],
])('%s', (_what, begun, asked, expected) => {
  const tasks = openBegunTasks();
  if (!tasks) throw new Error('there is no folder for it');
  using _closed = tasks;
  for (const number of begun)
    writeSync(tasks.descriptor, new Uint32Array([number]), 0, 4, 4 * (number % 1_024));
  expect(asked.filter(tasks.read())).toEqual(expected);
});
