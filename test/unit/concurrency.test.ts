/** `concurrency: auto` from its text to the workers' report, and what a pool is sized by. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Policy, type Sample } from '../../controller/decide/decision.ts';
import { policyOf, withFoundSlots } from '../../controller/decide/policy.ts';
import { explain } from '../../controller/records/explain.ts';
import {
  foundSlotsOf,
  initialFoundSlots,
  slotsAfter,
  slotsReported,
} from '../../controller/reconcile/found-slots.ts';
import { withDefaults } from '../../kube/defaults.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { whySlots } from '../../queue/inspect.ts';
import type { WorkerEntry } from '../../queue/workers/list-workers.ts';
import { formatConcurrency, parseConcurrency } from '../../runtime/concurrency.ts';
import { createAutoConcurrency, type SlotsReport } from '../../worker/epoch/auto/auto.ts';
import { createMeter } from '../../worker/epoch/auto/meter.ts';
import { parseWorkerFlags } from '../../worker/flags/flags.ts';
import { memoryShare } from '../../worker/process/memory-share.ts';

describe('how it is written', () => {
  test.each<[written: number | string, parsed: unknown, formatted: string]>([
    [4, 4, '4'],
    ['4', 4, '4'],
    ['auto', { min: 1, max: 32 }, 'auto:1-32'],
    ['auto:4-64', { min: 4, max: 64 }, 'auto:4-64'],
    ['auto:5-5', { min: 5, max: 5 }, 'auto:5-5'],
    ['auto:1-10000', { min: 1, max: 10_000 }, 'auto:1-10000'],
  ])('%s', (written, parsed, formatted) => {
    expect(parseConcurrency(written)).toEqual(parsed);
    expect(formatConcurrency(parseConcurrency(written))).toBe(formatted);
  });

  test.each<[written: number | string, error: string]>([
    [0, '0 is not a number of tasks from 1 to 10000'],
    ['0', '0 is not a number of tasks from 1 to 10000'],
    [10_001, '10001 is not a number of tasks from 1 to 10000'],
    [1.5, '1.5 is not a number of tasks from 1 to 10000'],
    ['auto:8-2', 'auto:8-2 has no numbers in it: write the smaller one first, auto:2-8'],
    ['auto:0-8', 'auto:0-8: the numbers of tasks are from 1 to 10000'],
    ['auto:1-10001', 'auto:1-10001: the numbers of tasks are from 1 to 10000'],
    ['automatic', '"automatic" is neither a number of tasks such as 8, nor auto, nor auto:4-64'],
    ['auto:8', '"auto:8" is neither a number of tasks such as 8, nor auto, nor auto:4-64'],
    ['', '"" is neither a number of tasks such as 8, nor auto, nor auto:4-64'],
    ['-1', '"-1" is neither a number of tasks such as 8, nor auto, nor auto:4-64'],
  ])('%s is refused', (written, error) => {
    expect(() => parseConcurrency(written)).toThrow(new RangeError(error));
  });

  test('a policy names the field', () => {
    expect(() => policyOf(withDefaults({ redis: {}, concurrency: 'auto:8-2' }))).toThrow(
      /^concurrency: auto:8-2 has/,
    );
  });
});

function entry(about: Partial<WorkerEntry>): WorkerEntry {
  const rest = { poolUid: '', leaseEnds: 0, epoch: 1, version: '', started: 0, inFlight: 0 };
  return { id: 'w', state: 'busy', concurrency: 1, pool: 'shop/mail', ...rest, ...about };
}

test.each<[args: string[], env: Record<string, string>, found: unknown]>([
  [[], {}, 1],
  [[], { MILLRACE_CONCURRENCY: '4' }, 4],
  [[], { MILLRACE_CONCURRENCY: '4', MILLRACE_AUTO_CONCURRENCY: 'auto:4-64' }, { min: 4, max: 64 }],
  [['--concurrency', '2'], { MILLRACE_CONCURRENCY: '4', MILLRACE_AUTO_CONCURRENCY: 'auto:4-64' }, 2],
  [['--concurrency', 'auto'], { MILLRACE_CONCURRENCY: '4' }, { min: 1, max: 32 }],
])('a worker with the flags %j and the variables %j', (args, env, found) => {
  vi.stubEnv('MILLRACE_CONCURRENCY', env['MILLRACE_CONCURRENCY']);
  vi.stubEnv('MILLRACE_AUTO_CONCURRENCY', env['MILLRACE_AUTO_CONCURRENCY']);
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(parseWorkerFlags(['node', 'worker', ...args], process.env, 'w').concurrency).toEqual(found);
});

describe('what a pool is sized by', () => {
  const pool = (concurrency: number | string, status = {}): WorkerPool =>
    ({ spec: withDefaults({ redis: {}, concurrency }), status }) as unknown as WorkerPool;

  test.each<[name: string, workers: Partial<WorkerEntry>[], found: unknown]>([
    ['none', [], undefined],
    ['of another pool', [{ pool: 'shop/other', slots: 8 }], undefined],
    ['one', [{ slots: 8, concurrency: 16, slotsWhy: 'because' }], { slots: 8, why: 'because' }],
    [
      'the mean, and the reason of the one that is nearest',
      [
        { slots: 4, slotsWhy: 'small node' },
        { slots: 9, slotsWhy: 'large node' },
        { slots: 8, slotsWhy: 'usual' },
      ],
      { slots: 7, why: 'usual' },
    ],
    ['those that drain do not count', [{ slots: 2, state: 'draining' }, { slots: 8 }], { slots: 8, why: '' }],
    ['an earlier version has a fixed number', [{ concurrency: 4 }], { slots: 4, why: '' }],
    [
      'of the same name in another cluster',
      [
        { poolUid: 'theirs', slots: 2 },
        { poolUid: 'ours', slots: 8 },
      ],
      { slots: 8, why: '' },
    ],
    ['what makes no sense', [{ concurrency: 0 }], undefined],
    [
      'of several that are as near, the reason of the same one, in whatever order they come',
      [
        { id: 'w2', slots: 8, slotsWhy: 'of the second' },
        { id: 'w1', slots: 8, slotsWhy: 'of the first' },
      ],
      { slots: 8, why: 'of the first' },
    ],
  ])('%s', (_name, workers, found) => {
    const metadata = { namespace: 'shop', name: 'mail', uid: 'ours' };
    expect(slotsReported(workers.map(entry), { metadata })).toEqual(found);
    expect(slotsReported(workers.toReversed().map(entry), { metadata })).toEqual(found);
  });

  test.each<[reported: Partial<WorkerEntry>, shown: string | undefined]>([
    [{ concurrency: 4 }, undefined],
    [{ concurrency: 8, slots: 8, slotsWhy: 'at 10 they were slower' }, 'at 10 they were slower'],
    [
      { concurrency: 10, slots: 8, slotsWhy: 'at 10 they were slower' },
      'on trial (8 so far: at 10 they were slower)',
    ],
  ])('what people see of one worker: %o', (reported, shown) => {
    expect(whySlots(entry(reported))).toBe(shown);
  });

  test('before a worker has reported, what was known last; then the minimum; always within the bounds', () => {
    expect(foundSlotsOf(pool(8), initialFoundSlots())).toBeUndefined();
    expect(foundSlotsOf(pool('auto:2-8'), initialFoundSlots())).toEqual({ slots: 2, why: '' });
    const known = { slots: 6, slotsReason: 'because' };
    expect(foundSlotsOf(pool('auto:2-8', known), initialFoundSlots())).toEqual({ slots: 6, why: 'because' });
    expect(foundSlotsOf(pool('auto:2-4', known), initialFoundSlots())?.slots).toBe(4);
    const found = { found: { slots: 7, why: '' }, readAt: 0 };
    expect(foundSlotsOf(pool('auto:2-8', known), found)?.slots).toBe(7);
  });

  test.each<[before: number | undefined, now: number | undefined, after: number | undefined]>([
    [undefined, undefined, undefined],
    [undefined, 5, 5],
    [5, undefined, 5],
    [20, 21, 20],
    [20, 22, 22],
    [20, 18, 18],
    [2, 3, 3],
  ])('%s, then %s reported', (before, now, after) => {
    const found = (slots: number | undefined) => (slots === undefined ? undefined : { slots, why: '' });
    expect(slotsAfter(found(before), found(now))?.slots).toBe(after);
  });

  const seen = (waiting: number): Sample => ({ kind: 'known', waiting, inFlight: 0, due: 0, leaving: 0 });
  const replicas = (policy: Policy): number => decide(policy, seen(60), 0, noMemory, 1e12, 0).desired;

  test('without a rule of its own, a replica is to have as many tasks as slots, but 5', () => {
    const policy = policyOf(withDefaults({ redis: {}, concurrency: 'auto', maxReplicas: 100 }));
    expect(replicas(withFoundSlots(policy, { slots: 2, why: '' }))).toBe(12);
    expect(replicas(withFoundSlots(policy, { slots: 12, why: '' }))).toBe(5);
    const own = policyOf(
      withDefaults({ redis: {}, concurrency: 'auto', maxReplicas: 100, scaling: { tasksPerReplica: 3 } }),
    );
    expect(replicas(withFoundSlots(own, { slots: 12, why: '' }))).toBe(20);
  });

  test('millrace explain says how many, and why', () => {
    const policy = policyOf(withDefaults({ redis: {}, concurrency: 'auto' }));
    const found = withFoundSlots(policy, { slots: 8, why: 'at 12 the tasks took 1.6 times as long' });
    const { numbers, cause, desired } = decide(found, seen(60), 0, noMemory, 1e12, 0);
    const record = { at: 0, confirmedAt: 0, from: 0, to: 0, reason: '', cause, desired, numbers };
    expect(explain(record).find(([heading]) => heading === 'Slots')?.[1]).toEqual([
      '8 slots in each replica: at 12 the tasks took 1.6 times as long',
    ]);
    const fixed = decide(policyOf(withDefaults({ redis: {} })), seen(60), 0, noMemory, 1e12, 0);
    expect(explain({ ...record, numbers: fixed.numbers }).some(([heading]) => heading === 'Slots')).toBe(
      false,
    );
  });
});

describe('the meter', () => {
  test('a spell begins when all slots are in use, and counts its first tasks, to their ends', () => {
    const meter = createMeter();
    meter.reset(2, 3, 0);
    const first = meter.begin(0);
    expect(meter.observation(10)).toMatchObject({ begun: false, overfull: false });
    const second = meter.begin(10);
    meter.end(first, 20, 'done');
    const third = meter.begin(20);
    meter.end(second, 46, 'done');
    const fourth = meter.begin(46);
    meter.begin(46);
    const { spell, running, begun, overfull, lastedMs, busyMs } = meter.observation(50);
    // the first task had begun before the spell, and three are enough
    expect(spell).toEqual({ tasks: 1, failed: 0, roots: 6, ms: 36 });
    expect(running).toMatchObject({ tasks: 2, ms: 30 + 4 });
    expect({ begun, overfull, lastedMs, busyMs }).toEqual({
      begun: true,
      overfull: true,
      lastedMs: 40,
      busyMs: 84,
    });
    meter.end(fourth, 60, 'ignored');
    meter.end(third, 60, 'failed');
    expect(meter.ended).toBe(2);
  });

  test('fewer slots: a spell begins once the others are free', () => {
    const meter = createMeter();
    meter.reset(3, 6, 0);
    const tasks = [meter.begin(0), meter.begin(0), meter.begin(0)];
    meter.reset(1, 6, 5);
    expect(meter.observation(6)).toMatchObject({ begun: false, overfull: true });
    for (const [i, task] of tasks.slice(0, 2).entries()) meter.end(task, 10 + i, 'done');
    expect(meter.observation(20)).toMatchObject({ begun: true, overfull: false, lastedMs: 9, busyMs: 9 });
  });
});

describe('from one process to the next', () => {
  const create = (): {
    auto: ReturnType<typeof createAutoConcurrency>;
    slots: number[];
    reports: SlotsReport[];
  } => {
    const slots: number[] = [];
    const reports: SlotsReport[] = [];
    const auto = createAutoConcurrency({
      bounds: { min: 2, max: 16 },
      now: () => 0,
      memory: () => undefined,
      onSlots: (count) => slots.push(count),
      onState: () => undefined,
      onReport: (report) => reports.push(report),
    });
    return { auto, slots, reports };
  };

  test.each<[name: string, learned: { slots?: number; diedAt?: number }, slots: number]>([
    ['nothing is known', {}, 2],
    ['begins where others were', { slots: 8 }, 8],
    ['within its bounds', { slots: 100 }, 16],
    ['below what has killed it', { slots: 8, diedAt: 8 }, 7],
    ['but never below the minimum', { slots: 8, diedAt: 1 }, 2],
  ])('%s', (_name, { slots, diedAt }, expected) => {
    const { auto } = create();
    auto.recall({ slots, diedAt });
    expect(auto.report.slots).toBe(expected);
  });

  test('it is told at once, as the worker has registered before', () => {
    const { auto, slots, reports } = create();
    auto.recall({ slots: 8, diedAt: undefined });
    expect(slots).toEqual([8]);
    expect(reports).toEqual([{ concurrency: 8, slots: 8, slotsWhy: 'not compared with another number yet' }]);
  });

  test('at the maximum, it does not say that more are tried', () => {
    const { auto } = create();
    auto.recall({ slots: 16, diedAt: undefined });
    expect(auto.report.slotsWhy).toBe('the maximum');
  });
});

test('memory in use is that of the cgroup, without what can be dropped', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cgroup-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  expect(memoryShare(folder)).toBeUndefined();
  writeFileSync(join(folder, 'memory.current'), '700\n');
  writeFileSync(join(folder, 'memory.stat'), 'anon 100\ninactive_file 200\nactive_file 3\n');
  writeFileSync(join(folder, 'memory.max'), 'max\n');
  expect(memoryShare(folder)).toBeUndefined();
  writeFileSync(join(folder, 'memory.max'), '1000\n');
  expect(memoryShare(folder)).toBe(0.5);
});
