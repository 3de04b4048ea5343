/** What a candidate makes of a Lease, as rows. */
import { describe, expect, test } from 'vitest';
import type { ObservedLease } from '../../kube/lease.ts';
import { checkTiming, claimed, DEFAULT_TIMING, mayClaim, observeLease, released } from '../../kube/lease.ts';
import type { Lease } from '../../kube/wire.ts';

const ref = { namespace: 'millrace', name: 'controller' };
const lease = (spec: NonNullable<Lease['spec']>): Lease => ({
  metadata: { ...ref, resourceVersion: '7' },
  spec,
});
const held = lease({
  holderIdentity: 'b',
  leaseDurationSeconds: 15,
  renewTime: '2026-01-01T00:00:00.000000Z',
});
const renewed = lease({ ...held.spec, renewTime: '2026-01-01T00:00:02.000000Z' });
const free = lease({ leaseDurationSeconds: 1 });

describe('claim', () => {
  const cases: [what: string, seen: ObservedLease, now: number, may: boolean][] = [
    ['no lease', { lease: undefined, holder: '', since: 0 }, 0, true],
    ['a lease without a holder', { lease: free, holder: '', since: 0 }, 0, true],
    ['its own', { lease: held, holder: 'a', since: 0 }, 0, true],
    ["another's, just seen", { lease: held, holder: 'b', since: 1000 }, 1000, false],
    ["another's, just before it runs out", { lease: held, holder: 'b', since: 1000 }, 15_999, false],
    ["another's, unchanged for its duration", { lease: held, holder: 'b', since: 1000 }, 16_000, true],
  ];
  test.each(cases)('%s', (_what, seen, now, may) => {
    expect(mayClaim(seen, 'a', now)).toBe(may);
  });
});

describe('observeLease', () => {
  const first = observeLease(undefined, held, 100);
  const cases: [what: string, next: Lease | undefined, since: number, holder: string][] = [
    ['the same record keeps its time', structuredClone(held), 100, 'b'],
    [
      'metadata is not the record',
      { ...held, metadata: { ...held.metadata, resourceVersion: '8' } },
      100,
      'b',
    ],
    ['a renewed record starts anew', renewed, 200, 'b'],
    ['so does one that is gone', undefined, 200, ''],
    ['and one that was given back', free, 200, ''],
  ];
  test.each(cases)('%s', (_what, next, since, holder) => {
    expect(observeLease(first, next, 200)).toEqual({ lease: next, holder, since });
  });
});

describe('records', () => {
  const now = Date.parse('2026-01-02T03:04:05.678Z');
  const time = '2026-01-02T03:04:05.678000Z';

  const cases: [what: string, before: Lease | undefined, spec: Lease['spec']][] = [
    ['the first', undefined, { acquireTime: time, leaseTransitions: 0 }],
    [
      'after another holder',
      lease({ ...held.spec, leaseTransitions: 4 }),
      { acquireTime: time, leaseTransitions: 5 },
    ],
    [
      'renewed',
      lease({ holderIdentity: 'a', acquireTime: 'then', leaseTransitions: 4 }),
      { acquireTime: 'then', leaseTransitions: 4 },
    ],
  ];
  test.each(cases)('claimed: %s', (_what, before, spec) => {
    const record = claimed(before, ref, 'a', 1500, now);
    expect(record.spec).toEqual({ holderIdentity: 'a', leaseDurationSeconds: 2, renewTime: time, ...spec });
    expect(record.metadata).toEqual(before?.metadata ?? ref);
  });

  test("claimed: what the leader tells of itself goes with its name, and others' annotations stay", () => {
    const annotations = { theirs: 'kept', ours: 'old' };
    const before = { ...lease(held.spec ?? {}), metadata: { ...ref, annotations } };
    const record = claimed(before, ref, 'a', 1500, now, { ours: 'new' });
    expect(record.metadata.annotations).toEqual({ theirs: 'kept', ours: 'new' });
    expect(claimed(undefined, ref, 'a', 1500, now, { ours: 'new' }).metadata).toEqual({
      ...ref,
      annotations: { ours: 'new' },
    });
  });

  test('released: no holder, and no wait', () => {
    const record = released(lease({ ...held.spec, leaseTransitions: 4 }), now);
    expect(record.spec).toEqual({ leaseDurationSeconds: 1, leaseTransitions: 4, renewTime: time });
    expect(mayClaim(observeLease(undefined, record, 0), 'c', 0)).toBe(true);
  });
});

describe('timing', () => {
  const cases: [what: string, timing: [number, number, number], safe: boolean][] = [
    ["client-go's", [15_000, 10_000, 2000], true],
    ['a deadline as long as the lease', [10_000, 10_000, 2000], false],
    ['no time to try twice', [15_000, 2400, 2000], false],
    ['no pause', [15_000, 10_000, 0], false],
    ['not a number', [NaN, 10_000, 2000], false],
  ];
  test.each(cases)('%s', (_what, [leaseDurationMs, renewDeadlineMs, retryPeriodMs], safe) => {
    const check = (): void => checkTiming({ leaseDurationMs, renewDeadlineMs, retryPeriodMs });
    if (safe) expect(check).not.toThrow();
    else expect(check).toThrow(RangeError);
  });

  test('the default is safe', () => {
    expect(() => checkTiming(DEFAULT_TIMING)).not.toThrow();
  });
});
