/**
 * Which pods may be removed and how many replicas are left, as rows of observations and results; and the owners of pods and
 * workers.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isOwnPod } from '../../controller/act/ownership.ts';
import { outcomeOf, planScaleIn, type PlanInput } from '../../controller/act/scale-in-plan.ts';
import type { Member, Members } from '../../controller/act/target.ts';
import { mayRunIn, workersOf } from '../../controller/act/workers-of.ts';
import type { Pod } from '../../kube/wire.ts';
import type { WorkerLoad } from '../../queue/workers/worker-load.ts';

const load = (state: string, inFlight = 0, pool = ''): WorkerLoad => ({
  state,
  inFlight,
  blockers: [],
  pool,
});
const drained = load('drained');
const busy = load('draining', 1);
const member = (id: string, more: Partial<Member> = {}): Member => ({
  id,
  ready: true,
  created: 0,
  going: false,
  ...more,
});

/** Members are called by letters; `loads` says what each one's workers are, in their order. */
interface Seen {
  readonly loads: readonly (WorkerLoad | undefined)[];
  readonly desired: number;
  readonly counts?: Partial<Members>;
  readonly ready?: readonly boolean[];
  readonly going?: readonly boolean[];
  readonly unknown?: readonly string[];
}

function decide({ loads, desired, counts, ready, going, unknown = [] }: Seen): {
  gone: string;
  to: number;
  mismatch: string | undefined;
} {
  const all = loads.map((_, i) =>
    member(String.fromCodePoint(97 + i), { ready: ready?.[i] ?? true, going: going?.[i] ?? false }),
  );
  const counted = { wanted: all.length, existing: all.length, rollingOut: false };
  const members: Members = { ...counted, all, ending: [], settled: true, fresh: true, ...counts };
  const known = new Map(all.flatMap(({ id }, i) => (loads[i] ? [[id, loads[i]] as const] : [])));
  const input: PlanInput = {
    members,
    loads: known,
    unknown,
    desired,
    idle: false,
    unmanaged: 'WhenIdle',
    absent: new Map(),
    now: 0,
  };
  const plan = planScaleIn(input);
  const { gone, to } = outcomeOf(input, plan, known);
  return { gone: gone.map(({ id }) => id).join(''), to, mismatch: plan.mismatch };
}

const rows: [what: string, seen: Seen, gone: string, to: number][] = [
  ['those that have drained', { loads: [busy, drained, drained], desired: 1 }, 'bc', 1],
  ['replicas that never came', { loads: [busy], desired: 1, counts: { wanted: 4 } }, '', 1],
  [
    'none that never came while the status counts them',
    { loads: [busy], desired: 1, counts: { wanted: 4, existing: 4 } },
    '',
    4,
  ],
  [
    'none that never came while a worker is registered that is in no pod',
    { loads: [busy], desired: 1, counts: { wanted: 4 }, unknown: ['x-1'] },
    '',
    4,
  ],
  [
    'a worker of elsewhere does not keep those that have drained',
    { loads: [busy, drained], desired: 1, unknown: ['x-1'] },
    'b',
    1,
  ],
  [
    'nobody while the status counts a pod that was not listed, which may be first in line',
    { loads: [busy, drained], desired: 1, counts: { wanted: 2, existing: 3 } },
    '',
    2,
  ],
  [
    'no more than stay, where somebody else has just lowered the replicas',
    { loads: [busy, busy, busy, drained], desired: 1, counts: { wanted: 3 } },
    'd',
    3,
  ],
  [
    'a pod that nobody counts frees no replica of those that are counted',
    {
      loads: [busy, busy, undefined],
      ready: [true, true, false],
      desired: 1,
      counts: { wanted: 2, existing: 2 },
    },
    'c',
    2,
  ],
  [
    'what goes already, and one more',
    { loads: [drained, drained, busy], going: [true, false, false], desired: 1, counts: { wanted: 2 } },
    'b',
    1,
  ],
  [
    'nobody ready before one that is not and works',
    { loads: [drained, busy], ready: [true, false], desired: 0 },
    '',
    2,
  ],
  ['nobody in a rollout', { loads: [drained, drained], desired: 0, counts: { rollingOut: true } }, '', 2],
  ['nobody when more is wanted than is there', { loads: [drained], desired: 2 }, '', 1],
];

test.each(rows)('who goes: %s', (_, seen, gone, to) => {
  expect(decide(seen)).toMatchObject({ gone, to });
});

test('in any case, the members that stay and the doubtful ones are never more than the replicas', () => {
  const anyLoad = fc.constantFrom(drained, busy, load('idle'), load('busy', 2), undefined);
  const anySeen = fc.record({
    loads: fc.array(anyLoad, { maxLength: 7 }),
    ready: fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }),
    going: fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }),
    desired: fc.nat(7),
    counts: fc.record({ wanted: fc.nat(9), existing: fc.nat(9) }),
    unknown: fc.subarray(['x-1', 'x-2']),
  });
  fc.assert(
    fc.property(anySeen, (seen) => {
      const { gone, to } = decide(seen);
      const { wanted, existing } = seen.counts;
      expect(to).toBeLessThanOrEqual(wanted);
      // somebody else may have lowered them further already
      const held = seen.loads.filter((one) => one && one.inFlight > 0).length;
      if (to < wanted) {
        expect(existing).toBeLessThanOrEqual(seen.loads.length);
        const goes = seen.going.slice(0, seen.loads.length).filter(Boolean).length;
        expect(to).toBeGreaterThanOrEqual(seen.loads.length - gone.length - goes);
        expect(to).toBeGreaterThanOrEqual(held - goes);
      }
      for (const id of gone) expect(seen.loads[(id.codePointAt(0) ?? 0) - 97]?.inFlight ?? 0).toBe(0);
    }),
    { numRuns: 1_000 },
  );
});

describe('whose pod it is', () => {
  const pod = (owner: object | undefined, hash = '7d9f8c6b5d'): Pod => ({
    metadata: {
      name: 'x',
      labels: { app: 'web', 'pod-template-hash': hash },
      ...(owner && {
        ownerReferences: [
          {
            apiVersion: 'apps/v1',
            kind: 'ReplicaSet',
            name: 'web-7d9f8c6b5d',
            uid: 'u',
            controller: true,
            ...owner,
          },
        ],
      }),
    },
  });
  const long = 'n'.repeat(250);
  const cases: [what: string, pod: Pod, deployment: string, own: boolean][] = [
    ['its ReplicaSet', pod({}), 'web', true],
    ['its ReplicaSet of another generation', pod({ name: 'web-abc' }, 'abc'), 'web', true],
    ['nobody', pod(undefined), 'web', false],
    ['a Job', pod({ apiVersion: 'batch/v1', kind: 'Job', name: 'web-7d9f8c6b5d' }), 'web', false],
    ['a ReplicaSet of another Deployment', pod({ name: 'web-a-7d9f8c6b5d' }), 'web', false],
    ['a Deployment whose name goes on', pod({}), 'web-7d9f8c6b5d', false],
    ['a ReplicaSet that somebody made by hand', pod({ name: 'web' }), 'web', false],
    ['one that does not control it', pod({ controller: false }), 'web', false],
    ['a kind of that name in another group', pod({ apiVersion: 'example.com/v1' }), 'web', false],
    ['a ReplicaSet whose name had to be cut', pod({ name: `${long.slice(0, 242)}-7d9f8c6b5d` }), long, true],
  ];
  test.each(cases)('of %s', (_, one, deployment, own) => expect(isOwnPod(one, deployment)).toBe(own));
});

describe('whose worker it is', () => {
  const identity = { namespace: 'here', pool: 'tiles', target: 'web' };
  const cases: [what: string, worker: string, of: WorkerLoad, ids: string, unknown: string][] = [
    ['one that is called as its pod', 'web-a', load('idle'), 'web-a', ''],
    ['one that is called as its pod and by its process', 'web-a-7', load('idle'), 'web-a web-a-7', ''],
    ['one whose name another one had', 'web-a-0f3c91ab', load('idle'), 'web-a web-a-0f3c91ab', ''],
    ['one of both kinds', 'web-a-7-0f3c91ab', load('idle'), 'web-a web-a-7-0f3c91ab', ''],
    ['one of the same name in another namespace', 'web-a', load('busy', 1, 'there/tiles'), '', ''],
    ['one that says another pool of the namespace', 'web-a', load('idle', 0, 'here/other'), 'web-a', ''],
    ['one of a pod that nobody knows', 'web-b', load('busy', 1), 'web-a', 'web-b'],
    ['one that says the pool, of a pod that nobody knows', 'y', load('busy', 1, 'here/tiles'), 'web-a', 'y'],
    ['one of a pod that is ending', 'web-z', load('busy', 1), 'web-a', ''],
    ["one on somebody's own machine", 'laptop-12', load('busy', 1), 'web-a', ''],
  ];
  test.each(cases)('%s', (_, worker, of, ids, unknown) => {
    const found = workersOf({ all: [member('web-a')], ending: ['web-z'] }, new Map([[worker, of]]), identity);
    expect(found.idsOf(member('web-a')).join(' ')).toBe(ids);
    expect(found.unknown.join(' ')).toBe(unknown);
    expect(found.loads.has('web-a')).toBe(mayRunIn(worker, 'web-a') && ids !== '');
  });

  test('several in one pod count together', () => {
    const two = new Map([
      ['web-a-1', drained],
      ['web-a-9', load('busy', 2)],
    ]);
    const { loads } = workersOf({ all: [member('web-a')], ending: [] }, two, identity);
    expect(loads.get('web-a')).toMatchObject({ state: 'busy', inFlight: 2 });
  });
});
