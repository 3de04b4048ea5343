/** Short runs of `npm run chaos -- --sentinel` and `--cluster`. Their seeds are in the output; the long runs take them. */
import { expect, test } from 'vitest';
import { account, figuresText } from './report.ts';
import { createTakeoverPlan } from './takeover-plan.ts';
import { takeoverFigures } from './takeover-report.ts';
import { runTakeovers } from './takeover-run.ts';

test.concurrent.each(['sentinel', 'cluster'] as const)(
  '%s: nothing that a replica has confirmed is lost while primaries are lost',
  async (kind) => {
    const whole = createTakeoverPlan(kind, Math.floor(Math.random() * 1e6), 400, 20_000);
    const rounds = whole.rounds.slice(0, 3);
    const plan = { ...whole, rounds, tasks: rounds.flatMap(({ tasks }) => tasks) };
    const outcome = await runTakeovers({
      plan,
      workers: 3,
      limitMs: 900_000,
      leastTakeovers: 1,
      signal: new AbortController().signal,
      progress: () => undefined,
    });
    const figures = takeoverFigures(plan, outcome);
    console.log(figuresText(figures));
    expect(account(outcome)).toBe('');
    expect(figures.takeovers).toBeGreaterThan(0);
    expect(figures.results + figures.dead).toBeGreaterThanOrEqual(plan.tasks.length);
  },
);
