/** Which calls to the API server begin while an urgent one is under way. */
import { expect, test } from 'vitest';
import { createPrecedence } from '../../kube/precedence.ts';

/** Whether it resolves before all that can happen without time passing. */
async function isNow(turn: Promise<void>): Promise<boolean> {
  const later = new Promise<boolean>((resolve) => setImmediate(() => resolve(false)));
  return Promise.race([turn.then(() => true), later]);
}

test('others wait until the last urgent call has ended', async () => {
  const calls = createPrecedence(Infinity);
  expect(await isNow(calls.turn())).toBe(true);
  const ends = [calls.begin(), calls.begin()];
  const waiting = [calls.turn(), calls.turn()];
  expect(await Promise.all(waiting.map(isNow))).toEqual([false, false]);
  ends[0]?.();
  expect(await Promise.all(waiting.map(isNow))).toEqual([false, false]);
  ends[1]?.();
  expect(await Promise.all(waiting.map(isNow))).toEqual([true, true]);
  expect(await isNow(calls.turn())).toBe(true);
});

test('and no longer than that, if it does not end', async () => {
  const calls = createPrecedence(1);
  calls.begin();
  await calls.turn();
});
