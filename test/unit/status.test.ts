import { describe, expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory } from '../../controller/decide/decision.ts';
import { onlyNumbersChanged } from '../../controller/report/status.ts';
import { policyOf } from '../../controller/decide/policy.ts';
import { applierBefore } from '../../controller/act/other-writers.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import { nothingKept } from '../../controller/act/step.ts';
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import { known, away, conditions, pool, see, type Change } from '../support/pool-status.ts';

test('a pool that scales', () => {
  const status = see();
  expect(status).toMatchObject({
    observedGeneration: 3,
    waiting: 12,
    inFlight: 0,
    delayed: 1,
    dead: 2,
    desiredReplicas: 3,
    selector: 'a=b',
    lastDecision: '0→3: 12 waiting, 0 in flight, 5 tasks a replica',
    lastScaleTime: '2026-01-01T00:00:00Z',
  });
  expect(conditions(status)).toEqual({
    Ready: 'True Scaling',
    RedisReachable: 'True Sampled',
    Active: 'True Working',
    ScalingLimited: 'False WithinBounds',
    PoisonTasks: 'False None',
  });
});

const bullmq = pool({ source: { bullmq: { queues: ['q'] } } });
const pausedQueue: Sampled = { kind: 'known', sample: { ...known.sample, pausedQueues: 1 } };

const cases: [string, Change, Record<string, string>][] = [
  [
    'a pod of somebody else has the labels',
    { strays: ['nightly-report'] },
    { Ready: 'True Scaling', ForeignPods: 'True NotOwned' },
  ],
  [
    'a manifest of its Deployment sets replicas',
    {
      pool: pool({ scaleTargetRef: { name: 'web' } }),
      applier: { manager: 'kubectl-client-side-apply', at: undefined, refused: false },
    },
    { Ready: 'True Scaling', ReplicasApplied: 'True OtherManager' },
  ],
  [
    'another pool has replicas for one of its queues',
    { sharing: '"b"' },
    { Ready: 'True Scaling', QueueShared: 'True OtherPools' },
  ],
  ['a task was given up', { poison: 'Task "a" is a dead letter.' }, { PoisonTasks: 'True WorkersLost' }],
  [
    'Redis is away',
    { sampled: away },
    {
      Ready: 'False RedisUnreachable',
      RedisReachable: 'False Unreachable',
      // at zero, and not for want of work
      Active: 'Unknown QueueUnread',
    },
  ],
  [
    'a source is not there, and Redis is',
    { pool: bullmq, sampled: { kind: 'unknown', reason: 'SourceNotFound', why: 'no queue "q"' } },
    {
      Ready: 'False SourceNotFound',
      RedisReachable: 'True Answered',
      SourceReadable: 'False NotFound',
    },
  ],
  [
    'the keys of a source are of an unknown version',
    { pool: bullmq, sampled: { kind: 'unknown', reason: 'SourceUnknownLayout', why: 'of version 3' } },
    { Ready: 'False SourceUnknownLayout', SourceReadable: 'False UnknownLayout' },
  ],
  [
    'Redis is away, and so is the source',
    { pool: bullmq, sampled: away },
    { Ready: 'False RedisUnreachable', SourceReadable: 'Unknown RedisUnread' },
  ],
  ['a source is read', { pool: bullmq }, { Ready: 'True Scaling', SourceReadable: 'True Sampled' }],
  ['its queue is paused', { sampled: pausedQueue }, { Ready: 'True Scaling', QueuePaused: 'True AllQueues' }],
  [
    'nothing was sampled yet',
    { sampled: { kind: 'unknown', reason: 'NotSampledYet', why: 'not yet' } },
    { Ready: 'Unknown NotSampledYet', RedisReachable: 'Unknown NotSampledYet' },
  ],
  [
    'workers crash',
    { trouble_: 'container "worker" crashes' },
    { Ready: 'False WorkersFailing', RedisReachable: 'True Sampled' },
  ],
  [
    'a person has to act',
    { trouble: { reason: 'NoTarget', message: 'no such Deployment' }, step: undefined },
    { Ready: 'False NoTarget', Active: 'Unknown NotDecidedYet' },
  ],
  ['paused', { pool: pool({ mode: 'Paused' }) }, { Ready: 'True Paused', Active: 'False Idle' }],
  ['a dry run', { pool: pool({ mode: 'DryRun' }) }, { Ready: 'True DryRun' }],
  [
    'Redis may evict tasks',
    { evictionRisk: 'Redis evicts keys' },
    { Ready: 'True Scaling', EvictionPossible: 'True MaxmemoryPolicy' },
  ],
  ['max limits', { pool: pool({ maxReplicas: 2 }) }, { ScalingLimited: 'True MaxReplicas' }],
  ['min limits', { pool: pool({ minReplicas: 5 }) }, { ScalingLimited: 'True MinReplicas' }],
];
test.each(cases)('%s', (_, change, expected) => expect(conditions(see(change))).toMatchObject(expected));

test('names the active schedules, and their bounds', () => {
  const schedules = [
    { name: 'office hours', start: '0 8 * * *', duration: '10h', timeZone: 'UTC', minReplicas: 20 },
  ];
  const office = pool({ schedules });
  const at = (hour: number, of: WorkerPool): WorkerPoolStatus => {
    const nothing = { ...known.sample, ...known.sample.runnable, kind: 'known' as const, waiting: 0 };
    const decision = decide(policyOf(of.spec), nothing, 20, noMemory, Date.UTC(2026, 0, 5, hour));
    const replicas = { wanted: 20, existing: 20, ready: 20, trouble: undefined, rollingOut: false };
    const rest = {
      scaled: undefined,
      held: undefined,
      kept: nothingKept,
      requeueInMs: undefined,
    };
    return see({ pool: of, step: { replicas, decision, ...rest } });
  };
  const open = at(9, office);
  expect(open.schedules).toEqual(['office hours']);
  expect(open.conditions).toContainEqual(
    expect.objectContaining({
      type: 'ScalingLimited',
      status: 'True',
      message: 'The queue asks for less than minReplicas 20 of schedule "office hours".',
    }),
  );
  expect(at(18, pool({ schedules }, open)).schedules).toBeNull();
  expect(at(18, office)).not.toHaveProperty('schedules');
});

test('who applied replicas is kept for the next controller, until it applies without them', () => {
  const adopted = (status: WorkerPoolStatus = {}): WorkerPool =>
    pool({ scaleTargetRef: { name: 'web' } }, status);
  const helm = { manager: 'helm', at: '2026-01-01T00:00:00Z', refused: true };
  const before = see({ pool: adopted(), applier: helm });
  expect(before.replicasApplier).toEqual({ manager: 'helm', time: '2026-01-01T00:00:00Z' });
  expect(applierBefore(before.replicasApplier)).toEqual(helm);
  const unknown = see({ pool: adopted(before), step: undefined });
  expect(unknown.replicasApplier).toEqual(before.replicasApplier);
  expect(see({ pool: adopted(before) }).replicasApplier).toBeNull();
  expect(see({ pool: adopted() })).not.toHaveProperty('replicasApplier');
});

describe('the words of the decision change with its cause', () => {
  const scaled = see();
  const held = see({ pool: pool({}, scaled), sampled: away });
  const stopped = see({ pool: pool({ mode: 'Paused' }, scaled) });
  /** The next look at a pool of that status: as many replicas are wanted as there are. */
  const next = (
    before: WorkerPoolStatus,
    words = 'any words',
    sampled: Sampled = known,
  ): WorkerPoolStatus => {
    const decision = decide(policyOf(pool().spec), { ...known.sample, kind: 'known' }, 3, noMemory, 0);
    expect(decision).toMatchObject({ desired: 3, cause: 'Enough' });
    const replicas = { wanted: 3, existing: 3, ready: 3, trouble: undefined, rollingOut: false };
    const rest = { scaled: undefined, held: undefined, kept: nothingKept, requeueInMs: undefined };
    return see({
      sampled,
      pool: pool({}, { ...before, lastDecision: words, desiredReplicas: 3 }),
      step: { replicas, decision, ...rest },
    });
  };
  const withoutCause = (status: WorkerPoolStatus): WorkerPoolStatus => {
    const { lastCause: _, ...older } = status;
    return older;
  };

  test('a queue is paused, and then resumed, while the number of replicas stays', () => {
    const words = 'as before';
    const paused = next(scaled, words, pausedQueue);
    expect(paused.lastDecision).not.toBe(words);
    expect(next(paused, words, pausedQueue).lastDecision).toBe(words);
    expect(next(paused, words).lastDecision).not.toBe(words);
  });

  test('it is kept beside them', () => {
    expect([scaled, held, stopped].map(({ lastCause }) => lastCause)).toEqual([
      'ScaleUp',
      'Unknown',
      'Paused',
    ]);
  });

  test.each([
    ['the queue can be read again', held],
    ['the pause is over', stopped],
    ['the queue can be read again, by the status of an older version', withoutCause(held)],
    ['the pause is over, by the status of an older version', withoutCause(stopped)],
    ['the fallback is over', { ...scaled, lastCause: 'Fallback' }],
  ])('%s: they are new, however they were put', (_, before) => {
    expect(next(before)).toMatchObject({
      lastDecision: '3: 12 waiting, 0 in flight, 5 tasks a replica',
      lastCause: 'Enough',
    });
  });

  test.each([
    ['a decision like the one before', scaled],
    ['the same by the status of an older version', withoutCause(scaled)],
  ])('%s: they stay, even where they sound like a pause', (_, before) => {
    expect(next(before, '3: paused by nobody').lastDecision).toBe('3: paused by nobody');
  });
});

test('unknown values keep their last value', () => {
  const before = see();
  const after = see({ pool: pool({}, before), sampled: away });
  expect(after).toMatchObject({ waiting: 12, dead: 2 });
});

test('a transition time moves with the status of its condition alone', () => {
  const before = see();
  const later = new Date('2026-01-02T00:00:00Z');
  const same = see({ pool: pool({}, before), now: later });
  expect(same.conditions?.map((c) => c.lastTransitionTime)).toEqual(
    before.conditions?.map((c) => c.lastTransitionTime),
  );
  const changed = see({ pool: pool({}, before), now: later, sampled: away });
  const times = Object.fromEntries(changed.conditions?.map((c) => [c.type, c.lastTransitionTime]) ?? []);
  expect(times['RedisReachable']).toBe('2026-01-02T00:00:00Z');
  expect(times['ScalingLimited']).toBe('2026-01-01T00:00:00Z');
});

test('messages are sentences', () => {
  for (const change of [{}, ...cases.map(([, c]) => c)])
    for (const { message } of see(change).conditions ?? []) expect(message).toMatch(/^[A-Z].*[.!?]$/);
});

test('a change of counters alone can wait; any other cannot', () => {
  const before = see();
  expect(onlyNumbersChanged(before, { ...before, waiting: 99, inFlight: 3, delayed: 0, dead: 5 })).toBe(true);
  expect(onlyNumbersChanged(before, { ...before, readyReplicas: 1 })).toBe(false);
  expect(onlyNumbersChanged(before, { ...before, conditions: [] })).toBe(false);
});
