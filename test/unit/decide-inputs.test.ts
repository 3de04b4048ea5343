/** Which decisions the watchdog need not watch, which blocks the event loop for each that it does. */
import { expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory } from '../../controller/decide/decision.ts';
import { initialDecideState, inputOf } from '../../controller/reconcile/decide-inputs.ts';
import { notYet, type Sampled } from '../../controller/sample/sampled.ts';
import { combineSamples } from '../../queue/pool/pool-sample.ts';
import { queueSampleOf } from '../../queue/sources/read.ts';
import { targetRule } from '../support/policies.ts';

const none = { now: 1_000, waiting: 0, inHand: 0, delayed: 0, due: 0, dueSoon: 0 };
const sampled = (parts: Partial<typeof none>): Sampled => ({
  kind: 'known',
  sample: combineSamples([queueSampleOf({ ...none, ...parts })]),
});
const counters = { taken: 0, completed: 0, failed: 0, retried: 0, serviceUs: 0 };
const empty = { kind: 'known', waiting: 0, inFlight: 0, due: 0, leaving: 0, counters } as const;
const { memory: learned } = decide(targetRule, empty, 0, noMemory, 1_000, 0);

test.each([
  ['an empty queue', sampled({}), noMemory, noMemory, 'seen'],
  ['no sample', notYet, noMemory, noMemory, 'seen'],
  ['a task that waits', sampled({ waiting: 1 }), noMemory, noMemory, undefined],
  ['one that runs', sampled({ inHand: 1 }), noMemory, noMemory, undefined],
  ['one that is delayed', sampled({ delayed: 1 }), noMemory, noMemory, undefined],
  ['what an earlier process learned', sampled({}), learned, noMemory, undefined],
  ['what this one has learned', sampled({}), learned, learned, 'seen'],
] as const)('of %s', (_, read, memory, before, input) => {
  expect(learned.learned).toBeDefined();
  expect(inputOf(read, memory, { ...initialDecideState(), memory: before })).toBe(input);
});
