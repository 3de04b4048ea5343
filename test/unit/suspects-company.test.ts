/** Suspects of one queue and tasks of another in the same worker: each is reported to Redis to have company before more begins. */
import { expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import type { Lane } from '../../worker/epoch/slots/lane.ts';
import { createWorkerSlots } from '../../worker/epoch/slots/slots.ts';

type Mutable = { -readonly [Name in keyof Lane]: Lane[Name] };

/** A queue of an idle worker, and what it was told. */
function queue(rank: number): { lane: Mutable; told: string[] } {
  const told: string[] = [];
  const nothing = (): void => undefined;
  const lane: Mutable = {
    keys: queueKeys(`q${rank}`, 'result'),
    rank,
    held: 0,
    running: 0,
    wantsWork: false,
    turning: false,
    full: false,
    heldSince: undefined,
    inTransit: false,
    apart: false,
    suspects: false,
    solitary: false,
    taking: false,
    emptyInMs: 0,
    windowMs: 5,
    drainOrdered: false,
    maybeDrained: false,
    empty: true,
    readAt: Infinity,
    readSentAt: Infinity,
    inMotion: false,
    turns: 1,
    fill: nothing,
    take: nothing,
    poll: nothing,
    foundEmpty: nothing,
    guardLease: nothing,
    announceCompany: () => void told.push('announce'),
    wake: () => void told.push('wake'),
  };
  return { lane, told };
}

function worker() {
  const slots = createWorkerSlots(4, () => Promise.resolve(new Set()));
  const [high, low] = [queue(0), queue(1)];
  slots.join(high.lane);
  slots.join(low.lane);
  return { slots, high, low };
}

test('an urgent task waits until Redis knows that a suspect, running or not, has company', () => {
  const { slots, high, low } = worker();
  // the suspect has come and waits for its slot when the urgent task comes
  Object.assign(low.lane, { held: 1, suspects: true, solitary: true });
  slots.holds(low.lane);
  high.lane.held = 1;
  slots.holds(high.lane);
  expect(slots.mayBegin(high.lane)).toBe(false);
  expect(low.told).toContain('announce');
  low.lane.solitary = false;
  expect(slots.mayBegin(high.lane)).toBe(true);
});

test('a suspect that comes beside tasks of another queue: both report it', () => {
  const { slots, high, low } = worker();
  high.lane.running = 1;
  slots.holds(high.lane);
  expect(slots.suspectsBeside(high.lane)).toBe(false);
  Object.assign(low.lane, { held: 1, suspects: true, solitary: true });
  slots.holds(low.lane);
  expect(high.told).toContain('wake');
  expect([slots.suspectsBeside(high.lane), slots.suspectsBeside(low.lane)]).toEqual([true, true]);
  // alone again
  high.lane.running = 0;
  slots.holds(high.lane);
  expect(slots.suspectsBeside(low.lane)).toBe(false);
});

test('ordinary tasks of several queues need no report', () => {
  const { slots, high, low } = worker();
  for (const { lane } of [high, low]) {
    lane.running = 1;
    slots.holds(lane);
  }
  expect(slots.suspectsBeside(high.lane)).toBe(false);
  expect([...high.told, ...low.told]).not.toContain('announce');
});
