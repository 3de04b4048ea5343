/** The load of `bench -- scale-in`, and how what came of it is judged. */
import { expect, test } from 'vitest';
import { onOffLoad, outcomeOf, runsOf } from '../../bench/scale-in/load.ts';
import { createRandom } from '../chaos/random.ts';

const load = { tasks: 200, times: 3, onMs: 60_000, offMs: 60_000, ms: [1_000, 20_000] } as const;

test('tasks come in the phases that have some, in order, and the same seed gives the same', () => {
  const arrivals = onOffLoad(load, createRandom(1, 'load'));
  expect(arrivals).toHaveLength(200);
  expect(arrivals.map(({ at }) => at)).toEqual(arrivals.map(({ at }) => at).toSorted((a, b) => a - b));
  expect([...new Set(arrivals.map(({ at }) => Math.floor(at / 60_000)))]).toEqual([0, 2, 4]);
  expect(arrivals.filter(({ ms }) => ms < 1_000 || ms > 20_000)).toEqual([]);
  expect(onOffLoad(load, createRandom(1, 'load'))).toEqual(arrivals);
  expect(onOffLoad(load, createRandom(2, 'load'))).not.toEqual(arrivals);
});

test('a task may be cut off in one pod and finished in another', () => {
  expect(runsOf(['begin a 10', 'begin b 50', 'end b 70'])).toEqual([
    { pod: 'a', began: 10, ended: undefined },
    { pod: 'b', began: 50, ended: 70 },
  ]);
  expect(runsOf(['begin a 10', 'begin a 50', 'end a 70'])).toEqual([
    { pod: 'a', began: 10, ended: undefined },
    { pod: 'a', began: 50, ended: 70 },
  ]);
});

test.for([
  ['before its task', 9, 0],
  ['as its task begins', 10, 1],
  ['during its task', 19, 1],
  ['when its task has ended', 20, 0],
] as const)('a pod that is told to stop %s', ([, leaving, stoppedBusy]) => {
  const runs = [[{ pod: 'a', began: 10, ended: 20 }]];
  const pods = [
    { name: 'a', leaving },
    { name: 'b', leaving: undefined },
  ];
  expect(outcomeOf(runs, pods)).toEqual({ stopped: 1, stoppedBusy, cutOff: 0, repeated: 0, lost: 0 });
});

test('what was cut off was lost, unless another run has finished it', () => {
  const cut = { pod: 'a', began: 10, ended: undefined };
  const again = { pod: 'b', began: 30, ended: 40 };
  const pods = [
    { name: 'a', leaving: 15 },
    { name: 'b', leaving: 50 },
  ];
  expect(outcomeOf([[cut, again], [cut], []], pods)).toEqual({
    stopped: 2,
    stoppedBusy: 1,
    cutOff: 2,
    repeated: 1,
    lost: 2,
  });
});
