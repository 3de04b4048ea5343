/** Suspects run beside nothing but one another: the room that they need is counted, the room that they take as well. */
import { expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Policy } from '../../controller/decide/decision.ts';
import { keptApart } from '../../controller/decide/suspects.ts';

const known = { kind: 'known', waiting: 0, inFlight: 0, due: 0, leaving: 0 } as const;

test.for([
  ['none', {}, [0, 0]],
  ['three that go alone', { waiting: 3, suspects: 3, solitary: 3 }, [27, 0]],
  ['ten that go by halves', { waiting: 10, suspects: 10, solitary: 0 }, [10, 0]],
  ['one that runs alone', { inFlight: 1, apart: { workers: 1, tasks: 1 } }, [0, 9]],
  ['a group that runs', { inFlight: 8, apart: { workers: 2, tasks: 8 } }, [0, 12]],
  ['a worker that holds more than its slots', { inFlight: 30, apart: { workers: 1, tasks: 30 } }, [0, 0]],
] as const)('%s, ten tasks a replica', ([, parts, [waiting, inFlight]]) => {
  expect(keptApart({ ...known, ...parts }, 10)).toEqual({ waiting, inFlight });
});

test('where a replica has one task, suspects need no more than others', () => {
  expect(keptApart({ ...known, waiting: 3, suspects: 3, solitary: 3 }, 1)).toEqual({
    waiting: 0,
    inFlight: 0,
  });
  expect(keptApart({ ...known, waiting: 3, suspects: 3, solitary: 0 }, 1)).toEqual({
    waiting: 0,
    inFlight: 0,
  });
});

test('the plain rule gives each that goes alone a replica, and the tasks beside one that runs another', () => {
  const policy: Policy = {
    minReplicas: 0,
    maxReplicas: 20,
    tasksPerReplica: 10,
    windowMs: undefined,
    fallback: undefined,
    paused: false,
  };
  const desired = (parts: object): number => decide(policy, { ...known, ...parts }, 0, noMemory, 0).desired;
  expect(desired({ waiting: 3 })).toBe(1);
  expect(desired({ waiting: 3, suspects: 3, solitary: 3 })).toBe(3);
  expect(desired({ waiting: 5, inFlight: 1 })).toBe(1);
  expect(desired({ waiting: 5, inFlight: 1, apart: { workers: 1, tasks: 1 } })).toBe(2);
});
