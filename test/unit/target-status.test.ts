/** What the status says of a target wait: its condition, and what was learned. */
import { describe, expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Decision } from '../../controller/decide/decision.ts';
import { onlyNumbersChanged } from '../../controller/report/status.ts';
import { policyOf } from '../../controller/decide/policy.ts';
import { nothingKept, type Step } from '../../controller/act/step.ts';
import { noCounters } from '../../queue/pool/sample.ts';
import { conditions, known, pool, quiet, see } from '../support/pool-status.ts';

describe('a pool with a target wait', () => {
  const aimed = pool({ scaling: { targetWait: '10s' } });
  const step = (of: Pick<Decision, 'advice' | 'cause'> & { finished?: number }): Step => {
    const looks = [0, 1_000].map((now) => {
      const done = now === 0 ? 0 : (of.finished ?? 600);
      const serviceUs = done * 812_345;
      return { now, counters: { ...noCounters, taken: done, completed: done, serviceUs } };
    });
    let memory = noMemory;
    for (const { now, counters: seen } of looks)
      memory = decide(
        policyOf(aimed.spec),
        { ...known.sample, kind: 'known', counters: seen },
        3,
        memory,
        now,
      ).memory;
    const bounds = { ...quiet, minReplicas: 0, maxReplicas: 10 };
    const decision = {
      desired: 3,
      reason: '3: why',
      limited: undefined,
      memory,
      bounds,
      decideAgainAt: undefined,
      startMs: 0,
      numbers: { current: 3, ready: 3, bounds: { minReplicas: 0, maxReplicas: 10 } },
      ...of,
    };
    return {
      replicas: { wanted: 3, existing: 3, ready: 3, trouble: undefined, rollingOut: false },
      decision,
      scaled: undefined,
      held: undefined,
      kept: nothingKept,
      requeueInMs: undefined,
    };
  };
  test('counts pods that drain where they are counted, and forgets them where they no longer are', () => {
    const draining = (terminating: number | undefined): Step => {
      const whole = step({ cause: 'Enough', advice: undefined });
      return { ...whole, replicas: { ...whole.replicas, terminating } };
    };
    expect(see({ pool: pool(), step: draining(2) })).toMatchObject({ terminatingReplicas: 2 });
    expect(see({ pool: pool(), step: draining(0) })).toMatchObject({ terminatingReplicas: 0 });
    expect(see({ pool: pool(), step: draining(undefined) })).not.toHaveProperty('terminatingReplicas');
    const before = pool({}, { terminatingReplicas: 2 });
    expect(see({ pool: before, step: draining(undefined) })).toMatchObject({ terminatingReplicas: null });
  });

  const advice = {
    reason: 'StartTimeAboveTarget',
    message: 'replicas take 30 s to start, the target is 10 s: minReplicas 4 would hold it',
    minReplicas: 4,
    maxReplicas: undefined,
  } as const;

  test('has the learned values, in two digits', () => {
    const status = see({ pool: aimed, step: step({ cause: 'Enough', advice: undefined }) });
    expect(status).toMatchObject({ serviceTime: { p50: '570ms' }, arrivalRate: '10/s' });
    expect(conditions(status)).toMatchObject({ TargetMissed: 'False WithinTarget' });
  });

  test('names the number to change', () => {
    const status = see({ pool: aimed, step: step({ cause: 'Enough', advice }) });
    expect(status.conditions).toContainEqual(
      expect.objectContaining({
        type: 'TargetMissed',
        status: 'True',
        reason: 'StartTimeAboveTarget',
        message: 'Replicas take 30 s to start, the target is 10 s: minReplicas 4 would hold it.',
      }),
    );
    const other = { ...advice, message: 'replicas take 31 s to start' };
    const later = see({ pool: aimed, step: step({ cause: 'Enough', advice: other }) });
    expect(later).not.toEqual(status);
    expect(onlyNumbersChanged(status, later)).toBe(true);
  });

  test.each([
    ['nothing finished yet', step({ cause: 'Enough', advice: undefined, finished: 0 })],
    ['the queue cannot be read', step({ cause: 'Unknown', advice: undefined })],
    ['there was no decision', undefined],
  ])('does not know while %s', (_, made) => {
    expect(conditions(see({ pool: aimed, step: made }))).toMatchObject({ TargetMissed: 'Unknown NotKnown' });
  });

  test('without the target it takes all of that back', () => {
    const status = see({ pool: aimed, step: step({ cause: 'Enough', advice }) });
    const after = see({ pool: pool({}, status) });
    expect(after).toMatchObject({ serviceTime: null, startTime: null, arrivalRate: null });
    expect(conditions(after)).not.toHaveProperty('TargetMissed');
  });
});
