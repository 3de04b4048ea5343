/** Whose turn it is among partitions, over a model of lanes that hold tasks, hang and join in any order. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import type { Lane } from '../../worker/epoch/slots/lane.ts';
import { createRotation } from '../../worker/epoch/slots/rotation.ts';

interface ModelLane extends Lane {
  turning: boolean;
  full: boolean;
  waiting: number;
}

function lane(name: string, waiting: number): ModelLane {
  const own = { keys: queueKeys(name, 'result'), rank: 0, turning: false, full: false, waiting };
  return Object.defineProperty(own, 'wantsWork', { get: () => own.waiting > 0 }) as unknown as ModelLane;
}

function open(waiting: readonly number[]) {
  let now = 0;
  const lanes = waiting.map((tasks, i) => lane(`p${i}`, tasks));
  const rotation = createRotation(
    () => lanes,
    () => now,
  );
  /** A turn of the one that goes first. Resolves to it. */
  const turn = (want: number): ModelLane | undefined => {
    const first = lanes.find((one) => one.wantsWork && !one.turning && rotation.isNext(one));
    if (!first) return undefined;
    rotation.sent(first, want);
    first.waiting -= Math.min(first.waiting, want);
    rotation.ended(first);
    return first;
  };
  return { lanes, rotation, turn, pass: (ms: number) => void (now += ms) };
}

test('one keeps its turn for a while, then it is the next one: no partition starves however full the others are', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 16 }),
      fc.nat({ max: 15 }),
      fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 40, maxLength: 40 }),
      (few, full, times) => {
        const waiting = few.map((tasks, i) => (i === full % few.length ? 1e9 : tasks));
        const { lanes, turn, pass } = open(waiting);
        let spentMs = 0;
        // each of the others goes before the full one has had a quantum for each of them, and one more
        for (const ms of [...times, ...times, ...times]) {
          turn(1);
          pass(ms);
          spentMs += ms;
        }
        const left = lanes.filter((one, i) => i !== full % few.length && one.waiting > 0);
        if (spentMs > (few.length * 4 + 1) * 300) expect(left).toEqual([]);
      },
    ),
  );
});

test('of two that are full, each has its share', () => {
  const { lanes, turn, pass } = open([1e6, 1e6]);
  const taken = new Map<ModelLane | undefined, number>();
  for (let i = 0; i < 1_000; i++) {
    const first = turn(10);
    taken.set(first, (taken.get(first) ?? 0) + 1);
    pass(10);
  }
  expect(lanes.map((one) => taken.get(one))).toEqual([500, 500]);
});

test('none waits for one whose server is away, or that can hold no more', () => {
  const { lanes, rotation } = open([5, 5, 5]);
  const [first, second, third] = lanes as [ModelLane, ModelLane, ModelLane];
  first.turning = true;
  expect(rotation.isNext(second)).toBe(true);
  second.full = true;
  expect(rotation.isNext(third)).toBe(true);
  expect(rotation.nextBeside(second)).toBe(third);
  expect(rotation.nextBeside(third)).toBeUndefined();
});

test('what the others have asked for counts until it is there, or its server is away', () => {
  const { lanes, rotation, pass } = open([5, 5]);
  const [first, second] = lanes as [ModelLane, ModelLane];
  rotation.sent(first, 30);
  expect([rotation.asked(first), rotation.asked(second)]).toEqual([0, 30]);
  pass(250);
  expect(rotation.asked(second)).toBe(0);
  rotation.sent(first, 20);
  expect(rotation.asked(second)).toBe(20);
  rotation.ended(first);
  expect(rotation.asked(second)).toBe(0);
});
