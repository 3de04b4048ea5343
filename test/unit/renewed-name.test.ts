/** Which records of a worker's name show that its process lives. */
import { expect, test } from 'vitest';
import { isRenewed } from '../../queue/workers/worker-connections.ts';

const THEN = { epoch: 7, turn: 10, deadline: 1_000 };

test.each([
  [true, 'a turn', { epoch: 7, turn: 11, deadline: 1_100 }],
  [true, 'a turn after a rest, whose lease was longer', { epoch: 7, turn: 11, deadline: 900 }],
  [true, 'a renewal by its thread', { epoch: 7, turn: 10, deadline: 1_001 }],
  [false, 'nothing', THEN],
  [false, 'a server that went back', { epoch: 7, turn: 9, deadline: 900 }],
  [false, 'the same, with a clock that is ahead', { epoch: 7, turn: 9, deadline: 5_000 }],
  [false, 'a lease that was ended by hand', { epoch: 7, turn: 10, deadline: 0 }],
  [false, 'another process', { epoch: 8, turn: 11, deadline: 1_100 }],
  [false, 'none', { epoch: undefined, turn: 0, deadline: 0 }],
])('%s: %s', (renewed, _, now) => {
  expect(isRenewed(THEN, now)).toBe(renewed);
});
