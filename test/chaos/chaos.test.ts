/** A short run of `npm run chaos`: every kind of fault once. Its seed is in the output; the long run takes it. */
import { expect, test } from 'vitest';
import { createPlan } from './plan.ts';
import { account, figuresOf, figuresText } from './report.ts';
import { runChaos } from './run.ts';

test('nothing is lost, written by a fenced worker or cut off by scaling while everything fails', async ({
  signal,
}) => {
  const plan = createPlan(Math.floor(Math.random() * 1e6), 3_000);
  const outcome = await runChaos({
    plan,
    workers: 5,
    limitMs: 900_000,
    signal,
    progress: () => undefined,
  });
  const figures = figuresOf(plan, outcome);
  console.log(figuresText(figures));
  expect(account(outcome)).toBe('');
  // a run in which nothing happened proves nothing
  expect(Object.keys(figures.faults).length).toBeGreaterThan(20);
  expect(
    figures.results + figures.dead + figures.takenByPlainWorkers + figures.pushesForgotten,
  ).toBeGreaterThanOrEqual(figures.tasks);
  expect(figures).toMatchObject({
    fences: expect.toSatisfy((fences: number) => fences > 0),
    scaledUp: expect.toSatisfy((times: number) => times > 0),
    scaledDown: expect.toSatisfy((times: number) => times > 0),
  });
});
