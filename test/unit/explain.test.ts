/** Decisions of `decide`, as `millrace explain` prints them. */
import { expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Memory, type Policy, type Sample } from '../../controller/decide/decision.ts';
import { explain } from '../../controller/records/explain.ts';
import { learnedNumbers } from '../../controller/decide/numbers.ts';
import { plainRule as plain } from '../support/policies.ts';

const target: Policy = {
  ...plain,
  tasksPerReplica: undefined,
  targetWaitMs: 10_000,
  windowMs: undefined,
  slots: 2,
};
const seasoned: Memory = { ...noMemory, since: -1e9, knownAt: 0 };
const blind: Sample = { kind: 'unknown', why: 'Redis at x does not answer' };

function known(waiting: number, inFlight = 0, completed = 0): Sample {
  const counters = {
    taken: completed + inFlight,
    completed,
    failed: 0,
    retried: 0,
    serviceUs: completed * 8e5,
  };
  return { kind: 'known', waiting, inFlight, due: 0, leaving: 0, counters };
}

/** What is said of the last of these decisions, a line each. */
function said(policy: Policy, samples: readonly Sample[], current: number, ready = current): string {
  let memory = seasoned;
  let text = '';
  for (const [second, sample] of samples.entries()) {
    const decision = decide(policy, sample, current, memory, second * 1_000, ready);
    ({ memory } = decision);
    const { cause, desired, reason, numbers } = decision;
    const { learned } = memory;
    const all = learned
      ? { ...numbers, learned: learnedNumbers(learned, policy.targetWaitMs ?? 0) }
      : numbers;
    const record = {
      at: 0,
      confirmedAt: 0,
      from: current,
      to: current,
      desired,
      cause,
      reason,
      numbers: all,
    };
    text = explain(record)
      .flatMap(([heading, lines]) => lines.map((line) => `${heading}: ${line}`))
      .join('\n');
  }
  return text;
}

test('the plain rule: what it saw, what it asked for, and from when on it would ask for another number', () => {
  expect(said(plain, [known(12, 3)], 1)).toBe(
    [
      'Seen: 12 tasks waiting, 3 in flight',
      'Seen: 1 replica, 1 of them ready',
      'Rules: plain, 5 tasks a replica: 3 ← the largest',
      'Bounds: minReplicas 0, maxReplicas 10: neither decides',
      'To change it: one more from 16 tasks on, one fewer at 10 tasks; there are 15',
    ].join('\n'),
  );
});

test('the target rule: what it learned and reckons with', () => {
  const looks = Array.from({ length: 40 }, (_, second) => known(second < 39 ? 4 : 400, 2, 2 * second));
  const text = said(target, looks, 1);
  expect(text).toMatch(/^Learned: a task takes 0\.8 s \(p50 [\d.]+ s, p95 [\d.]+ s; 78 have finished\)$/m);
  expect(text).toMatch(/^Learned: how long a replica takes to start is not known: 2 s is assumed$/m);
  expect(text).toMatch(
    /^Rules: target wait 10 s: \d+ needed, 2 tasks at a time in each ← the largest; \d+ worth keeping$/m,
  );
  expect(text).toMatch(/^Bounds: .*: the most allowed, \d+ were asked for$/m);
  expect(text).toMatch(/^To change it: maxReplicas \d+ would allow what is asked for$/m);
  expect(text).not.toMatch(/^Rules: plain/m);
});

test('before any task has finished, the plain rule decides, and gives that as the reason', () => {
  const text = said(target, [known(12)], 0);
  expect(text).toMatch(/^Rules: target wait 10 s: unknown until tasks have finished$/m);
  expect(text).toMatch(/^Rules: plain, 5 tasks a replica: 3 ← the largest$/m);
});

test('a window that the maximum cuts short', () => {
  const { memory } = decide(plain, known(40), 0, seasoned, 0);
  const decision = decide({ ...plain, maxReplicas: 3 }, known(5), 8, memory, 1_000);
  expect(explain({ ...decision, at: 0, confirmedAt: 0, from: 8, to: 3 })).toContainEqual([
    'Window',
    ['the last 60 s needed 8, and maxReplicas 3 allows no more'],
  ]);
});

test.each<[string, Policy, Sample[], number, RegExp]>([
  ['the maximum', plain, [known(100)], 10, /^To change it: maxReplicas 20 would allow what is asked for$/m],
  [
    'the minimum',
    { ...plain, minReplicas: 2 },
    [known(0)],
    2,
    /^To change it: minReplicas 0 would let the pool go down/m,
  ],
  [
    'the window',
    plain,
    [known(40), known(0)],
    8,
    /^Window: the last 60 s needed 8: so the pool stays, though 0 would do now$/m,
  ],
  [
    'a shorter window',
    plain,
    [known(40), known(0)],
    8,
    /^To change it: a shorter scaleDown\.window than 60 s/m,
  ],
  [
    'a window that has passed before any task has finished',
    { ...plain, tasksPerReplica: undefined, targetWaitMs: 10_000, windowMs: 0 },
    [known(200), known(199)],
    10,
    /^Window: too few tasks have finished to be sure: so the pool stays, though 2 would do now$/m,
  ],
  [
    'a limit on steps',
    { ...plain, maxStepUp: { replicas: 2 } },
    [known(50)],
    0,
    /^Steps: at most 2 up and any down in 15 s: 10 would be wanted now$/m,
  ],
  ['a pause', { ...plain, paused: true }, [known(9)], 1, /^To change it: end the pause/m],
  ['a queue that cannot be read', plain, [blind], 3, /^Seen: the queue could not be read$/m],
  [
    'and a fallback that is still to come',
    { ...plain, fallback: { afterMs: 30_000, replicas: 4 } },
    [known(0), blind],
    3,
    /^To change it: let the queue be read again; after 30 s fallback\.replicas 4 holds$/m,
  ],
])('what would change it: %s', (_, policy, samples, current, expected) =>
  expect(said(policy, samples, current)).toMatch(expected),
);
