import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Member } from '../../controller/act/target.ts';
import { chooseVictims } from '../../controller/act/victims.ts';
import type { WorkerLoad, WorkerLoads } from '../../queue/workers/worker-load.ts';

const member = (id: string, created = 0, ready = true): Member => ({ id, ready, created, going: false });
const load = (state: string, inFlight = 0): WorkerLoad => ({ state, inFlight, blockers: [], pool: '' });
const none = new Set<string>();

describe('who goes first', () => {
  const idle = load('idle');
  const rows: [what: string, members: Member[], loads: Record<string, WorkerLoad>, order: string][] = [
    ['the youngest among equals', [member('a', 1), member('b', 3), member('c', 2)], {}, 'b c a'],
    [
      'one that is starting before one that is idle',
      [member('a'), member('b', 0, false)],
      { a: idle },
      'b a',
    ],
    [
      'one that is idle before one that works',
      [member('a'), member('b')],
      { a: load('busy', 1), b: idle },
      'b a',
    ],
    [
      'the one that holds least',
      [member('a'), member('b'), member('c')],
      { a: load('busy', 3), b: load('busy', 1), c: load('busy', 2) },
      'b c a',
    ],
    [
      'one that drains already before one that works as much',
      [member('a', 2), member('b', 1)],
      { a: load('busy', 1), b: load('draining', 1) },
      'b a',
    ],
    [
      'one that drains and holds more before one that works',
      [member('a'), member('b')],
      { a: load('busy', 1), b: load('draining', 4) },
      'b a',
    ],
    [
      'one that is idle before one that drains but still works',
      [member('a'), member('b')],
      { a: load('draining', 1), b: idle },
      'b a',
    ],
    [
      'one that is not ready but works before all that are ready, as a ReplicaSet does',
      [member('a'), member('b', 0, false), member('c', 0, false)],
      { a: idle, b: load('busy', 1) },
      'c b a',
    ],
  ];
  test.each(rows)('%s', (_, members, loads, order) => {
    const chosen = chooseVictims(members, new Map(Object.entries(loads)), none, members.length);
    expect(chosen.map(({ id }) => id).join(' ')).toBe(order);
  });

  test('one that cannot drain goes last', () => {
    const loads = new Map([['a', load('busy', 5)]]);
    const chosen = chooseVictims([member('plain'), member('a')], loads, new Set(['plain']), 2);
    expect(chosen.map(({ id }) => id)).toEqual(['a', 'plain']);
  });
});

interface Pool {
  readonly members: readonly Member[];
  readonly loads: WorkerLoads;
  readonly count: number;
}

const pools: fc.Arbitrary<Pool> = fc
  .uniqueArray(
    fc.record({
      id: fc.stringMatching(/^[a-z]{1,4}$/),
      ready: fc.boolean(),
      created: fc.nat(3),
      state: fc.constantFrom(undefined, 'idle', 'busy', 'draining', 'drained'),
      inFlight: fc.nat(3),
    }),
    { selector: ({ id }) => id, maxLength: 12 },
  )
  .chain((all) =>
    fc.record({
      members: fc.constant(all.map(({ id, ready, created }) => member(id, created, ready))),
      loads: fc.constant(
        new Map(
          all.flatMap(({ id, state, inFlight }) =>
            state === undefined
              ? []
              : [[id, load(state, state === 'busy' || state === 'draining' ? inFlight + 1 : 0)] as const],
          ),
        ),
      ),
      count: fc.integer({ min: -1, max: 14 }),
    }),
  );

const ids = ({ members, loads, count }: Pool): string[] =>
  chooseVictims(members, loads, none, count).map(({ id }) => id);

describe('whatever the pool', () => {
  test('as many are chosen as requested, none twice, regardless of their order', () => {
    fc.assert(
      fc.property(pools, (pool) => {
        const chosen = ids(pool);
        expect(chosen).toHaveLength(Math.max(0, Math.min(pool.count, pool.members.length)));
        expect(new Set(chosen).size).toBe(chosen.length);
        expect(ids({ ...pool, members: pool.members.toReversed() })).toEqual(chosen);
      }),
    );
  });

  test('no ready one is chosen while one that is not ready stays', () => {
    fc.assert(
      fc.property(pools, (pool) => {
        const chosen = new Set(ids(pool));
        const stays = pool.members.some(({ id, ready }) => !ready && !chosen.has(id));
        if (stays) expect(pool.members.filter(({ id, ready }) => ready && chosen.has(id))).toEqual([]);
      }),
    );
  });

  test('chosen ones are chosen again once they drain, so that no pass drains more than the last one', () => {
    fc.assert(
      fc.property(pools, (pool) => {
        const chosen = ids(pool);
        const loads = new Map(
          [...pool.loads].map(([id, { inFlight }]) => {
            const state = inFlight > 0 ? 'busy' : 'idle';
            const drains = inFlight > 0 ? 'draining' : 'drained';
            return [id, load(chosen.includes(id) ? drains : state, inFlight)] as const;
          }),
        );
        expect(new Set(ids({ ...pool, loads }))).toEqual(new Set(chosen));
      }),
    );
  });
});
