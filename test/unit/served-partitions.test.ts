/** Which numbers of partitions a pool serves while its number changes, and what its conditions say. */
import { expect, test } from 'vitest';
import {
  addedLists,
  partitionsAfter,
  partitionsBefore,
  withWanted,
  type Partitions,
} from '../../controller/connect/partitions.ts';
import { learn, rebased, type SizingInput } from '../../controller/decide/target-wait/learned.ts';
import { partitionConditions } from '../../controller/report/partition-conditions.ts';
import { partitionedKeys } from '../../queue/partitions.ts';
import type { ListSample } from '../../queue/pool/pool-sample.ts';
import { known, pool } from '../support/pool-status.ts';

const spec = (partitions: number): Parameters<typeof partitionsAfter>[1] => ({
  queue: 'tiles',
  result: 'results',
  partitions,
});

/** The lists of these numbers; `what` by name. */
function lists(served: readonly number[], what: Record<string, Partial<ListSample>> = {}): ListSample[] {
  return partitionedKeys('tiles', 'results', served).map(({ queue }) => {
    const empty = { waiting: 0, inFlight: 0, delayed: 0, dead: 0, workers: 0, paused: false };
    return Object.assign(empty, { queue }, what[queue]);
  });
}

test.each<
  [
    what: string,
    before: Partitions,
    wanted: number,
    held: Record<string, Partial<ListSample>>,
    after: Pick<Partitions, 'served' | 'workers'>,
  ]
>([
  ['more', { served: [4], workers: [4] }, 16, {}, { served: [16], workers: [16] }],
  ['fewer, all empty', { served: [16], workers: [16] }, 4, {}, { served: [4], workers: [4] }],
  [
    'fewer while tasks wait',
    { served: [16], workers: [16] },
    4,
    { 'tiles:{15}': { waiting: 1 } },
    { served: [4, 16], workers: [4, 16] },
  ],
  [
    'fewer while tasks are delayed',
    { served: [16], workers: [16] },
    4,
    { 'tiles:{4}': { delayed: 1 } },
    { served: [4, 16], workers: [4, 16] },
  ],
  [
    'what waits in lists that stay is no reason to keep the others',
    { served: [16], workers: [16] },
    4,
    { 'tiles:{3}': { waiting: 9 } },
    { served: [4], workers: [4] },
  ],
  [
    'empty, and workers are still there: they are told, and the lists are read',
    { served: [16], workers: [16] },
    4,
    { 'tiles:{15}': { workers: 2 } },
    { served: [4, 16], workers: [4] },
  ],
  [
    'from one list',
    { served: [1], workers: [1] },
    16,
    { tiles: { inFlight: 1 } },
    { served: [1, 16], workers: [1, 16] },
  ],
  [
    'to one list',
    { served: [16], workers: [16] },
    1,
    { 'tiles:{0}': { waiting: 1 } },
    { served: [1, 16], workers: [1, 16] },
  ],
  [
    'changed twice',
    { served: [1, 16], workers: [1, 16] },
    4,
    { tiles: { waiting: 1 }, 'tiles:{9}': { waiting: 1 } },
    { served: [1, 4, 16], workers: [1, 4, 16] },
  ],
])('%s', (_what, before, wanted, held, after) => {
  const asked = withWanted(before, wanted);
  const found = lists(asked.served, held);
  const first = partitionsAfter(asked, spec(wanted), found, 0);
  expect(partitionsAfter(first, spec(wanted), found, 3_000)).toMatchObject(after);
});

test('lists that are empty in the first sample are left three seconds later, those of another number too', () => {
  const empty = (numbers: Partitions): ListSample[] =>
    lists(numbers.served, { 'tiles:{3}': { workers: 1 }, 'tiles:{9}': { workers: 1 } });
  const at = (before: Partitions, wanted: number, now: number): Partitions => {
    const asked = withWanted(before, wanted);
    return partitionsAfter(asked, spec(wanted), empty(asked), now);
  };
  const first = at({ served: [16], workers: [16] }, 4, 1_000);
  // nor are pods replaced by ones that take from both
  expect(first).toMatchObject({ served: [4, 16], workers: [16] });
  expect(at(first, 4, 3_999)).toMatchObject({ workers: [16] });
  const left = at(first, 4, 4_000);
  expect(left).toMatchObject({ served: [4, 16], workers: [4] });
  const again = at(left, 2, 90_000);
  expect(again).toMatchObject({ workers: [4] });
  expect(at(again, 2, 93_000)).toMatchObject({ workers: [2] });
  // nothing is left, even if tasks came back lately
  expect(at({ served: [4], workers: [4], returnedAt: 0, heldAt: 0 }, 16, 0)).toMatchObject({ workers: [16] });
  expect(at({ served: [4], workers: [4] }, 16, 0)).toEqual({ served: [16], workers: [16] });
});

test('a list counts as empty after three seconds: a task may be on its way to a worker', () => {
  const held = lists([4, 16], { 'tiles:{9}': { waiting: 1 } });
  const inHand = lists([4, 16], { 'tiles:{9}': { inFlight: 1, workers: 1 } });
  const empty = lists([4, 16], { 'tiles:{9}': { workers: 1 } });
  const both = { served: [4, 16], workers: [4, 16] };
  const after = (before: Partitions, found: ListSample[], now: number): Partitions =>
    partitionsAfter(before, spec(4), found, now);
  const waiting = after(both, held, 1_000);
  const moved = after(waiting, empty, 1_010);
  expect(moved).toMatchObject(both);
  const running = after(moved, inHand, 1_020);
  expect(running).toMatchObject(both);
  expect(running.returnedAt).toBeUndefined();
  const done = after(running, empty, 4_019);
  expect(done).toMatchObject(both);
  expect(after(done, empty, 4_020)).toMatchObject({ served: [4, 16], workers: [4] });
});

test('tasks that come back to a list are served again, and it is not left again at once', () => {
  const leaving: Partitions = { served: [4, 16], workers: [4] };
  const back = partitionsAfter(leaving, spec(4), lists([4, 16], { 'tiles:{9}': { waiting: 1 } }), 1_000);
  expect(back).toEqual({ served: [4, 16], workers: [4, 16], returnedAt: 1_000, heldAt: 1_000 });
  const empty = lists([4, 16], { 'tiles:{9}': { workers: 1 } });
  expect(partitionsAfter(back, spec(4), empty, 2_000)).toMatchObject({ workers: [4, 16] });
  expect(partitionsAfter(back, spec(4), empty, 302_000)).toMatchObject({ served: [4, 16], workers: [4] });
});

test('a pool begins with what an earlier controller left, a new one with the plain list as well', () => {
  const of = (partitions: number | undefined, status?: object): Partitions =>
    partitionsBefore({
      ...pool(partitions === undefined ? {} : { partitions }),
      ...(status && { status }),
    });
  expect(of(undefined)).toEqual({ served: [1], workers: [1] });
  expect(of(16)).toEqual({ served: [1, 16], workers: [16] });
  // it was of one list until now
  expect(of(16, { observedGeneration: 1 })).toEqual({ served: [1, 16], workers: [1] });
  expect(of(4, { observedGeneration: 1, partitions: [4, 16], workerPartitions: '4' })).toEqual({
    served: [4, 16],
    workers: [4],
  });
  expect(of(4, { observedGeneration: 1, partitions: [0, 1e9], workerPartitions: 'x' })).toEqual({
    served: [1, 4],
    workers: [1],
  });
});

test('the lists that a pool begins to serve: those that it did not name before, and none for a new pool', () => {
  const added = (partitions: number, status?: object, before?: Partitions): string[] => {
    const one = { ...pool({ queue: 'tiles', partitions }), ...(status && { status }) };
    return addedLists(one, before, withWanted(before ?? partitionsBefore(one), partitions));
  };
  const seen = { observedGeneration: 1 };
  expect(added(2)).toEqual([]);
  expect(added(2, seen)).toEqual(['tiles:{0}', 'tiles:{1}']);
  expect(added(4, { ...seen, partitions: [2] })).toEqual(['tiles:{2}', 'tiles:{3}']);
  expect(added(2, { ...seen, partitions: [4] })).toEqual([]);
  expect(added(1, { ...seen, partitions: [2] })).toEqual(['tiles']);
  // this process has read them meanwhile
  expect(added(4, { ...seen, partitions: [2] }, { served: [4], workers: [2] })).toEqual([]);
  expect(added(3, undefined, { served: [1, 2], workers: [2] })).toEqual(['tiles:{2}']);
});

test('who is told what: the owner of an adopted Deployment sets the number', () => {
  const numbers = { served: [4, 16], workers: [4, 16] };
  const adopting = pool({ queue: 'tiles', partitions: 4, scaleTargetRef: { name: 'thumbnails' } });
  const see = (held: Record<string, Partial<ListSample>>, unservedMs?: number): string[] =>
    partitionConditions(
      adopting,
      { numbers, unservedMs },
      { ...known, sample: { ...known.sample, lists: lists([4, 16], held) } },
    ).map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
  const set =
    'Set MILLRACE_PARTITIONS=4,16 (or --partitions) for the workers of Deployment "thumbnails", which this pool only scales.';
  expect(see({ 'tiles:{4}': { waiting: 2 }, 'tiles:{5}': { inFlight: 1, paused: true } })).toEqual([
    `PartitionsLeft TasksWait: 2 waiting, 1 in flight in tiles:{4} to tiles:{5}, which partitions: 4 does not name: served until they are empty. Let clients push to other lists. Some of them are paused: resume them with millrace resume. ${set}`,
  ]);
  expect(see({ 'tiles:{4}': { workers: 2, dead: 3 } })).toEqual([
    `PartitionsLeft WorkersLeave: 2 workers still take from tiles:{4} to tiles:{15}, which are empty, and which partitions: 4 does not name. ${set} 3 dead letters and the results there are kept: millrace dead list, requeue or drop with --partitions 16.`,
  ]);
  const apart = { 'tiles:{0}': { waiting: 1 }, 'tiles:{1}': { workers: 1 } };
  expect(see(apart, 29_999)).toEqual([]);
  expect(see(apart, 30_000)).toEqual([
    `PartitionsUnserved NoWorkers: 1 task waits in tiles:{0}, which no worker takes from. ${set}`,
  ]);
});

test('what was learned goes on with other lists, whose counters of before are no arrivals', () => {
  const policy = {
    waitMs: 1e4,
    slots: 1,
    windowMs: undefined,
    forecast: false,
    minReplicas: 0,
    maxReplicas: 9,
  };
  const seen = (now: number, tasks: number, waiting: number): SizingInput => ({
    now,
    waiting,
    inFlight: 0,
    due: 0,
    dueSoon: 0,
    counters: { taken: tasks, completed: tasks, failed: 0, retried: 0, serviceUs: tasks * 1e6 },
    wanted: 1,
    ready: 1,
  });
  const before = learn(policy, seen(0, 10, 0), undefined);
  const added = seen(1_000, 1_000_010, 2);
  const arrived = (after: typeof before): number =>
    (after.curve.at(-1)?.arrived ?? 0) - (before.curve.at(-1)?.arrived ?? 0);
  expect(arrived(learn(policy, added, before))).toBe(1_000_002);
  const after = learn(policy, added, rebased(before, added.counters, '1,16'));
  expect(arrived(after)).toBe(2);
  expect(after.service).toEqual(before.service);
  // the same lists
  expect(rebased(after, seen(2_000, 1_000_012, 0).counters, '1,16')).toBe(after);
});
