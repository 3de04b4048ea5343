/**
 * Two workers, whatever may happen to them, and one invariant: every task that was enqueued is in exactly one place
 * (queue, wake list, in flight, delayed, dead) or has its result. fast-check makes up the histories and shrinks one that
 * breaks it; each step is the real script on a real Redis, and the whole state is read again after each.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader, parseDead } from '../../queue/dead.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { reap, register, sampleQueue, turn, type Delivery, type TurnRequest } from '../../queue/scripts.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, nothing } from '../support/turns.ts';

const RUNS = 120;
const SEED = Number(process.env['MILLRACE_TEST_SEED'] ?? 20_260_101);

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

/** What a worker's process knows. It is gone after a crash. */
interface Process {
  epoch: number;
  turns: number;
  seen: number;
  held: Delivery[];
  /** Sent, and no reply came. */
  unanswered: TurnRequest | undefined;
}

interface World {
  readonly keys: QueueKeys;
  readonly workers: Map<string, Process>;
  /** Tasks of this content that were enqueued. */
  readonly enqueued: Map<string, number>;
  /** Results that workers were told to be written, by content. */
  readonly finished: Map<string, number>;
}

type Step =
  | { readonly kind: 'enqueue'; readonly task: string; readonly delayed: boolean }
  | { readonly kind: 'begin' | 'crash' | 'leave' | 'expire' | 'block' | 'repeat' | 'stale'; readonly worker: string }
  | {
      readonly kind: 'turn';
      readonly worker: string;
      readonly want: number;
      /** What becomes of the held tasks, from the oldest on; tasks without a word stay held. */
      readonly settle: readonly ('result' | 'retry' | 'dead' | 'release')[];
      readonly replyLost: boolean;
    };

const worker = fc.constantFrom('one', 'two');
const step: fc.Arbitrary<Step> = fc.oneof(
  // few contents, so that equal tasks are common; long ones are kept by digest
  fc.record({
    kind: fc.constant('enqueue' as const),
    task: fc.constantFrom('a', 'b', '', 'c|1|2|', `long ${'x'.repeat(60)}`),
    delayed: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom(...(['begin', 'crash', 'leave', 'expire', 'block', 'repeat', 'stale'] as const)),
    worker,
  }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('turn' as const),
      worker,
      want: fc.integer({ min: 0, max: 4 }),
      settle: fc.array(fc.constantFrom('result', 'retry', 'dead', 'release'), { maxLength: 3 }),
      replyLost: fc.boolean(),
    }),
  },
);

test(
  'each task is in exactly one place, or has its result',
  { timeout: 60_000 },
  async () => {
    process.stdout.write(`turn model: ${RUNS} runs, seed ${SEED} (MILLRACE_TEST_SEED)\n`);
    const histories = fc.array(step, { minLength: 5, maxLength: 40, size: 'max' });
    await fc.assert(
      fc.asyncProperty(histories, async (history) => {
        const world: World = { keys: freshKeys(), workers: new Map(), enqueued: new Map(), finished: new Map() };
        for (const next of history) {
          await take(next, world);
          await expectWhole(world);
        }
        await drain(world);
      }),
      { numRuns: RUNS, seed: SEED },
    );
  },
);

async function take(next: Step, world: World): Promise<void> {
  const { keys, workers } = world;
  if (next.kind === 'enqueue') {
    await redis.lpush(keys.queue, next.task);
    if (next.delayed) {
      const raw = await redis.lpop(keys.queue);
      const nonce = Math.random().toString(36).slice(2);
      await redis.zadd(keys.delayed, 1, `${nonce}|0|0|${raw ?? ''}`);
    }
    world.enqueued.set(next.task, (world.enqueued.get(next.task) ?? 0) + 1);
    return;
  }
  const process = workers.get(next.worker);
  switch (next.kind) {
    case 'begin': {
      // a process that begins knows nothing of what its name held before
      await reap(redis, keys, next.worker, 'any', 'lost');
      await reap(redis, keys, next.worker, 'any', 'leave');
      const epoch = await register(redis, keys, next.worker, 60_000, {});
      if (epoch === undefined) throw new Error('a name whose remains were reaped could not be registered');
      workers.set(next.worker, { epoch, turns: 0, seen: 0, held: [], unanswered: undefined });
      return;
    }
    case 'crash':
      workers.delete(next.worker);
      return;
    case 'leave':
      if (process) await reap(redis, keys, next.worker, process.epoch, 'leave');
      workers.delete(next.worker);
      return;
    case 'expire':
      if (await redis.zscore(keys.workers, next.worker)) await redis.zadd(keys.workers, 1, next.worker);
      await reap(redis, keys, next.worker, 'expired', 'lost');
      return;
    case 'block':
      await redis.lmove(keys.queue, keys.wake(next.worker), 'RIGHT', 'LEFT');
      // a move may outlive its worker only as long as the grave lasts: without a name, somebody must look
      if ((await redis.zscore(keys.workers, next.worker)) === null)
        await redis.zadd(keys.workers, 1, next.worker);
      return;
    case 'repeat':
      if (process?.unanswered) await send(world, next.worker, process, process.unanswered, false);
      return;
    case 'stale':
      if (process && process.turns > 1) await refuseStale(world, next.worker, process);
      return;
    case 'turn':
      if (!process) return;
      if (process.unanswered) await send(world, next.worker, process, process.unanswered, false);
      if (workers.has(next.worker)) await send(world, next.worker, process, compose(next, process), next.replyLost);
  }
}

function compose({ worker: id, want, settle }: Extract<Step, { kind: 'turn' }>, process: Process): TurnRequest {
  const settled = process.held.slice(0, settle.length).map((delivery, i) => ({ delivery, fate: settle[i] }));
  const of = (fate: string): Delivery[] =>
    settled.filter((entry) => entry.fate === fate).map(({ delivery }) => delivery);
  return {
    ...{ worker: id, epoch: process.epoch, turn: ++process.turns, seen: process.seen, want },
    ...{ leaseMs: 60_000, state: 'busy' },
    settled: {
      results: of('result').map(({ receipt, raw }) => ({ receipt, id: raw, value: 'done' })),
      retries: of('retry').map(({ receipt, past }) => ({
        ...{ receipt, delayMs: 0 },
        past: { ...past, attempts: past.attempts + 1 },
      })),
      dead: of('dead').map(({ receipt, raw, past }) => ({
        ...{ receipt, id: raw },
        header: deadHeader({ error: 'no', attempts: past.attempts + 1, worker: id }),
      })),
      released: of('release').map(({ receipt }) => receipt),
      serviceUs: 0,
    },
  };
}

async function send(
  world: World,
  id: string,
  process: Process,
  request: TurnRequest,
  replyLost: boolean,
): Promise<void> {
  const repeated = process.unanswered === request;
  const reply = await turn(redis, world.keys, request);
  if (reply.kind === 'fenced') {
    if (!replyLost) world.workers.delete(id);
    else process.unanswered = request;
    return;
  }
  if (!repeated)
    for (const { id: task } of request.settled.results)
      world.finished.set(String(task), (world.finished.get(String(task)) ?? 0) + 1);
  process.unanswered = replyLost ? request : undefined;
  if (replyLost) return;
  const { results, retries, dead, released } = request.settled;
  const gone = new Set([...[...results, ...retries, ...dead].map(({ receipt }) => receipt), ...released]);
  process.held = [...process.held.filter(({ receipt }) => !gone.has(receipt)), ...reply.tasks];
  process.seen = reply.seen;
}

/** A packet that was long on its way: the turn before the last one that was answered, once more. */
async function refuseStale({ keys, workers }: World, id: string, process: Process): Promise<void> {
  const answered = process.unanswered ? process.turns - 1 : process.turns;
  if (answered < 2) return;
  const { epoch, seen } = process;
  const request = { worker: id, epoch, turn: answered - 1, seen, want: 4, leaseMs: 1, state: 'old', settled: nothing };
  const outcome = await turn(redis, keys, request).catch((error: Error) => error.message);
  if (typeof outcome !== 'string') {
    expect(outcome).toEqual({ kind: 'fenced' });
    workers.delete(id);
  } else expect(outcome).toMatch(/^STALE/);
}

/** Counts each content everywhere and compares with what was enqueued. */
async function expectWhole({ keys, enqueued, finished, workers }: World): Promise<void> {
  const found = new Map<string, number>();
  const add = (raw: string): void => void found.set(raw, (found.get(raw) ?? 0) + 1);
  const names = ['one', 'two'];
  const [queue, delayed, dead, ...own] = await Promise.all([
    redis.lrange(keys.queue, 0, -1),
    redis.zrange(keys.delayed, '0', '-1'),
    redis.lrangeBuffer(keys.dead, 0, -1),
    ...names.flatMap((id) => [redis.lrange(keys.wake(id), 0, -1), redis.hvals(keys.inflight(id))]),
  ]);
  for (const raw of [...queue, ...own.flat()]) add(raw);
  for (const member of delayed) add(member.replace(/^[^|]*\|\d+\|\d+\|/, ''));
  for (const entry of dead) add(parseDead(entry).raw.toString());
  for (const [raw, times] of finished) for (let i = 0; i < times; i++) add(raw);
  expect(Object.fromEntries([...found].toSorted())).toEqual(Object.fromEntries([...enqueued].toSorted()));
  for (const raw of finished.keys()) expect(await redis.hget(keys.result, raw)).toBe('done');
  // what a worker believes to hold, it holds, unless it is fenced or a reply is on its way
  for (const [id, { epoch, held, unanswered }] of workers) {
    if (unanswered || (await redis.hget(keys.worker(id), 'epoch')) !== String(epoch)) continue;
    const receipts = await redis.hkeys(keys.inflight(id));
    expect(held.map(({ receipt }) => receipt).toSorted()).toEqual(receipts.toSorted());
  }
  const { inFlight, counters } = await sampleQueue(redis, keys);
  expect(counters.completed).toBe([...finished.values()].reduce((sum, times) => sum + times, 0));
  expect(counters.taken).toBe(inFlight + counters.completed + counters.failed + counters.retried);
}

/** Whatever happened: one worker that works properly brings it all to an end. */
async function drain(world: World): Promise<void> {
  const { keys } = world;
  for (const id of ['one', 'two']) await take({ kind: 'begin', worker: id }, world);
  const result = Array.from({ length: 64 }, () => 'result' as const);
  for (let i = 0; i < 2; i++)
    await take({ kind: 'turn', worker: 'one', want: 64, settle: result, replyLost: false }, world);
  await expectWhole(world);
  const left = await sampleQueue(redis, keys);
  expect(left).toMatchObject({ waiting: 0, inFlight: 0, delayed: 0 });
  expect(await redis.exists(keys.history)).toBe(0);
}
