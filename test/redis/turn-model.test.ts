/**
 * Two workers, whatever may happen to them, and two invariants: every task that was enqueued is in exactly one place
 * (queue, put aside as a suspect, wake list, in flight, delayed, dead), has its result, or was cancelled; and a suspect is
 * never in flight beside another task. That holds as well when the server forgets the last steps, as after a failover to a
 * replica that lags: what counts then is what it remembers, and a worker that knows more is fenced. fast-check makes up the histories and shrinks one that breaks them; each step is the
 * real script on a real Redis, and the whole state is read again after each.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { parseDead } from '../../queue/dead-letter-format.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { remember, take, type Step, type World } from '../support/turn-world.ts';
import { freshKeys } from '../support/turns.ts';

const RUNS = 120;
const SEED = Number(process.env['MILLRACE_TEST_SEED'] ?? 20_260_101);

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const worker = fc.constantFrom('one', 'two');
// few contents, so that equal tasks are common; long ones are kept by digest
const task = fc.constantFrom('a', 'b', '', 'c|1|2|', `long ${'x'.repeat(60)}`);
const enqueue: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('enqueue' as const),
  task,
  delayed: fc.boolean(),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  enqueue,
  fc.record({ kind: fc.constant('cancel' as const), task }),
  fc.record({
    kind: fc.constantFrom(
      ...(['begin', 'crash', 'leave', 'expire', 'displace', 'block', 'repeat', 'stale', 'wait'] as const),
    ),
    worker,
  }),
  fc.record({ kind: fc.constant('adopt' as const), worker, replyLost: fc.boolean() }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('turn' as const),
      worker,
      want: fc.integer({ min: 0, max: 4 }),
      together: fc.constantFrom(1, 1, 4, 0),
      settle: fc.array(fc.constantFrom('result', 'retry', 'dead', 'release', 'cancelled'), { maxLength: 3 }),
      replyLost: fc.boolean(),
    }),
  },
);

const forget: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('forget' as const),
  steps: fc.integer({ min: 1, max: 8 }),
});

test('each task is in exactly one place, or has its result; a suspect is alone, or with half of its fellows', async () => {
  process.stdout.write(`turn model: ${RUNS} runs, seed ${SEED} (MILLRACE_TEST_SEED)\n`);
  // often both workers live and there is enough for both: only then can tasks stand beside a suspect
  const both = fc.constant<Step[]>([
    { kind: 'begin', worker: 'one' },
    { kind: 'begin', worker: 'two' },
  ]);
  const histories = fc
    .tuple(
      fc.oneof(both, fc.constant<Step[]>([])),
      fc.array(enqueue, { maxLength: 12 }),
      // one server in three goes back
      fc.oneof(
        { weight: 2, arbitrary: fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }) },
        fc.array(fc.oneof({ weight: 9, arbitrary: step }, forget), {
          minLength: 5,
          maxLength: 40,
          size: 'max',
        }),
      ),
    )
    .map((parts) => parts.flat());
  await fc.assert(
    fc.asyncProperty(histories, async (history) => {
      const world: World = {
        keys: freshKeys(),
        workers: new Map(),
        enqueued: new Map(),
        finished: new Map(),
        marks: new Set(),
        cancelled: new Map(),
        past: [],
      };
      const forgets = history.some(({ kind }) => kind === 'forget');
      for (const next of history) {
        if (forgets) await remember(redis, world);
        await take(redis, next, world);
        await expectWhole(world);
      }
      await drain(world);
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

/** Counts each content everywhere and compares with what was enqueued. All is read in one round trip: steps are many. */
async function expectWhole(world: World): Promise<void> {
  const { keys, enqueued, finished, marks, cancelled } = world;
  const names = ['one', 'two'];
  // commands of one tick go out together
  const [queue, aside, delayed, dead, marked, results, own, { inFlight, counters }] = await Promise.all([
    redis.lrange(keys.queue, 0, -1),
    redis.lrange(keys.suspects, 0, -1),
    redis.zrange(keys.delayed, '0', '-1'),
    redis.lrangeBuffer(keys.dead, 0, -1),
    redis.zrange(keys.cancelled, '0', '-1'),
    redis.hgetall(keys.result),
    Promise.all(names.map((id) => readWorker(keys, id))),
    sampleQueue(redis, keys),
  ]);
  const found = new Map<string, number>();
  const add = (raw: string): void => void found.set(raw, (found.get(raw) ?? 0) + 1);
  for (const raw of queue) add(raw);
  for (const { wake, inflight } of own) for (const raw of [...wake, ...Object.values(inflight)]) add(raw);
  for (const entry of aside) add(entry.replace(/^\d+:[1-9]\d*(:[\w%.~-]*){0,3}\|/, ''));
  for (const member of delayed) add(member.replace(/^[^|]*\|\d+\|\d+\|/, ''));
  for (const entry of dead) add(parseDead(entry).raw.toString());
  for (const [raw, times] of [...finished, ...cancelled]) for (let i = 0; i < times; i++) add(raw);
  expect(new Set(marked)).toEqual(marks);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(enqueued));
  for (const raw of finished.keys()) expect(results[raw]).toBe('done');
  for (const keysOf of own) expectRightful(world, keysOf);
  expect(counters.completed).toBe([...finished.values()].reduce((sum, times) => sum + times, 0));
  expect(counters.cancelled).toBe([...cancelled.values()].reduce((sum, times) => sum + times, 0));
  expect(counters.taken).toBe(
    inFlight + counters.completed + counters.failed + counters.cancelled + counters.retried,
  );
}

interface WorkerKeys {
  readonly id: string;
  readonly wake: string[];
  readonly inflight: Record<string, string>;
  readonly pasts: string[];
  /** Its epoch and its last turn. */
  readonly known: (string | null)[];
}

async function readWorker(keys: QueueKeys, id: string): Promise<WorkerKeys> {
  const [wake, inflight, pasts, known] = await Promise.all([
    redis.lrange(keys.wake(id), 0, -1),
    redis.hgetall(keys.inflight(id)),
    redis.hvals(keys.carried(id)),
    redis.hmget(keys.worker(id), 'epoch', 'turn'),
  ]);
  return { id, wake, inflight, pasts, known };
}

function expectRightful({ workers }: World, { id, inflight, pasts, known }: WorkerKeys): void {
  const receipts = Object.keys(inflight);
  // what a worker believes to hold, it holds, unless it is fenced, is about to be, or a reply is on its way
  const process = workers.get(id);
  if (
    process &&
    !process.unanswered &&
    !process.unseen &&
    known.join() === `${process.epoch},${process.turns}`
  )
    expect(process.held.map(({ receipt }) => receipt).toSorted()).toEqual(receipts.toSorted());
  const count = receipts.length;
  const suspects = pasts.filter((past) => !/^\d+:0/.test(past));
  // alone, or at most half of those that were lost together, and nothing else
  const together = (past: string): number => Math.floor(Number(past.split(':')[3] ?? 1) / 2);
  const most = Math.min(...suspects.map((past) => Math.max(1, together(past))));
  if (suspects.length > 0) expect(count, `in flight beside the suspect of ${id}`).toBe(suspects.length);
  if (suspects.length > 0) expect(count, `suspects together in ${id}`).toBeLessThanOrEqual(most);
}

/** Whatever happened: one worker that works properly brings it all to an end. */
async function drain(world: World): Promise<void> {
  const { keys } = world;
  for (const id of ['one', 'two']) await take(redis, { kind: 'begin', worker: id }, world);
  const result = Array.from({ length: 64 }, () => 'result' as const);
  // suspects come one by one
  const tasks = [...world.enqueued.values()].reduce((sum, times) => sum + times, 0);
  for (let i = 0; i < tasks + 2; i++)
    await take(redis, { kind: 'turn', worker: 'one', want: 64, settle: result, replyLost: false }, world);
  await expectWhole(world);
  const left = await sampleQueue(redis, keys);
  expect(left).toMatchObject({ waiting: 0, inFlight: 0, delayed: 0 });
  expect(await redis.exists(keys.history, keys.suspects)).toBe(0);
}
