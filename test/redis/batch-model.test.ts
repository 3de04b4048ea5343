/**
 * Batches inside of a batch, workers that die at any moment, replies that are lost, parts that fail, are retried, cancelled or dropped:
 * whatever happens, the task that follows a batch is in at most one place, not before all parts have ended, and at the end in exactly one.
 * fast-check makes up the histories; each step is the real script on a real Redis.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { partMarkOf } from '../../queue/batch-mark.ts';
import { parseDead } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { nested, openQueue, type FailurePolicy, type Queue } from '../../queue/queue.ts';
import { parseTask } from '../../queue/task.ts';
import { reap } from '../../queue/workers/reap.ts';
import type { Delivery, TurnRequest } from '../../queue/workers/turn.ts';
import type { Finished } from '../../queue/outcomes/outcome.ts';
import { settledOf } from '../../queue/outcomes/settled.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, startHandWorker, type HandWorker } from '../support/turns.ts';

const RUNS = 100;
const SEED = Number(process.env['MILLRACE_TEST_SEED'] ?? 20_260_101);

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

type Ending = 'result' | 'spawn' | 'retry' | 'dead' | 'release' | 'cancelled';
type Step =
  | {
      readonly kind: 'turn';
      readonly worker: 0 | 1;
      readonly want: number;
      readonly endings: readonly Ending[];
      readonly lost: boolean;
    }
  | { readonly kind: 'lose'; readonly worker: 0 | 1 }
  | { readonly kind: 'requeue' | 'drop' }
  | { readonly kind: 'cancel'; readonly batch: string };

const turnStep = fc.record({
  kind: fc.constant('turn' as const),
  worker: fc.constantFrom(0 as const, 1 as const),
  want: fc.integer({ min: 0, max: 5 }),
  endings: fc.array(
    fc.constantFrom(...(['result', 'result', 'spawn', 'retry', 'dead', 'release', 'cancelled'] as const)),
    { maxLength: 5 },
  ),
  lost: fc.boolean(),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: turnStep },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('lose' as const),
      worker: fc.constantFrom(0 as const, 1 as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('requeue' as const, 'drop' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('cancel' as const), batch: fc.constantFrom('o', 'o:1', 'o:2') }),
  },
);
const policy = fc.constantFrom<FailurePolicy>('wait', 'cancel', 'continue');

interface Model {
  readonly keys: QueueKeys;
  readonly queue: Queue;
  readonly workers: (Process | undefined)[];
  /** Of all workers that ever were. */
  readonly names: string[];
}

interface Process {
  readonly worker: HandWorker;
  held: readonly Delivery[];
  unanswered: TurnRequest | undefined;
}

const BATCHES = ['o', 'o:1', 'o:2'] as const;

test('the task that follows a batch is pushed once, when all parts have ended', async () => {
  process.stdout.write(`batch model: ${RUNS} runs, seed ${SEED} (MILLRACE_TEST_SEED)\n`);
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(policy, policy, policy),
      fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }),
      async (policies, steps) => {
        const keys = freshKeys();
        await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
        const parts = (count: number): object[] => Array.from({ length: count }, (_, n) => ({ n }));
        const inner = (count: number, onFailure: FailurePolicy) =>
          nested(parts(count), { then: { follows: true }, onFailure });
        const all = [{ n: 0 }, inner(3, policies[1]), inner(4, policies[2]), { n: 1 }];
        await queue.batch(all, { id: 'o', then: { follows: true }, onFailure: policies[0] });
        const model: Model = { keys, queue, workers: [], names: [] };
        for (const next of steps) {
          await take(model, next);
          await expectRightful(model);
        }
        await finish(model);
      },
    ),
    { numRuns: RUNS, seed: SEED },
  );
});

async function processOf(model: Model, at: 0 | 1): Promise<Process> {
  const known = model.workers[at];
  if (known) return known;
  const worker = await startHandWorker(redis, model.keys);
  model.names.push(worker.id);
  return (model.workers[at] = { worker, held: [], unanswered: undefined });
}

async function take(model: Model, next: Step): Promise<void> {
  const { keys, queue } = model;
  switch (next.kind) {
    case 'requeue':
    case 'drop':
      await queue.dead[next.kind]('all');
      break;
    case 'cancel':
      await queue.batch.cancel(next.batch);
      break;
    case 'lose': {
      const process = model.workers[next.worker];
      if (process) await reap(redis, keys, process.worker.id, 'any', 'displaced');
      model.workers[next.worker] = undefined;
      break;
    }
    case 'turn':
      await makeTurn(model, await processOf(model, next.worker), next);
  }
}

async function makeTurn(
  { queue }: Model,
  process: Process,
  { want, endings, lost }: Extract<Step, { kind: 'turn' }>,
): Promise<void> {
  const { worker } = process;
  const settled = settledOf(
    await Promise.all(
      process.held
        .slice(0, endings.length)
        .map(async (delivery, i) => await ended(queue, delivery, endings[i] ?? 'result')),
    ),
    worker.id,
  );
  const request = process.unanswered ?? worker.next({ want, settled });
  const reply = await worker.send(request);
  if (reply.kind === 'fenced') throw new Error('a living worker was fenced');
  process.unanswered = lost && !process.unanswered ? request : undefined;
  if (process.unanswered) return;
  const gone = new Set(
    [
      ...request.settled.results,
      ...request.settled.retries,
      ...request.settled.dead,
      ...request.settled.cancelled,
    ].map(({ receipt }) => receipt),
  );
  for (const receipt of request.settled.released) gone.add(receipt);
  const had = new Set(process.held.map(({ receipt }) => receipt));
  process.held = [...process.held, ...reply.tasks.filter(({ receipt }) => !had.has(receipt))].filter(
    ({ receipt }) => !gone.has(receipt),
  );
}

/** An outcome as a worker makes it. A task of a batch that is being cancelled is cancelled, as workers do that have read its mark. */
async function ended(queue: Queue, delivery: Delivery, ending: Ending): Promise<Finished> {
  const { id, value } = parseTask(delivery.raw);
  const batch = partMarkOf(value, id, delivery);
  const state = batch && (await queue.batch.show(batch.id))?.state;
  const stopped = state === 'failing' || state === 'cancelling';
  const about = { delivery, id, attempt: 1, serviceMs: 1, ...(batch && { batch }) };
  if (stopped || ending === 'cancelled') return { ...about, outcome: { kind: 'cancelled' } };
  const child = {
    id: `${String(id)}/0`,
    raw: JSON.stringify({ id: `${String(id)}/0`, ...(batch && { batch: { id: batch.id } }) }),
  };
  const spawned = ending === 'spawn' && String(id).length < 12 ? { spawned: [child] } : {};
  const outcomes = {
    result: { kind: 'result', value: 'done' },
    spawn: { kind: 'result', value: 'done', ...spawned },
    retry: { kind: 'retry', delayMs: 0, error: 'again' },
    dead: { kind: 'dead', error: 'no' },
    release: { kind: 'release' },
  } as const;
  return { ...about, outcome: outcomes[ending] };
}

/** How often each task that follows a batch is somewhere, by the id of the batch. */
async function following({ keys, names }: Model): Promise<Map<string, number>> {
  const [queued, delayed, dead, results, errors, ...held] = await Promise.all([
    redis.lrange(keys.queue, 0, -1),
    redis.zrange(keys.delayed, '0', '-1'),
    redis.lrangeBuffer(keys.dead, 0, -1),
    redis.hgetall(keys.result),
    redis.hgetall(keys.errors),
    ...names.map((id) => redis.hvals(keys.inflight(id))),
  ]);
  const raws = [
    ...queued,
    ...delayed.map((member) => member.replace(/^[^|]*\|\d+\|\d+\|/, '')),
    ...dead.map((entry) => parseDead(entry).raw.toString()),
    ...held.flat(),
  ];
  const ids = raws.map((raw) => (JSON.parse(raw) as { id: string }).id);
  const cancelled = Object.entries(errors).flatMap(([id, header]) =>
    header.includes('"cancelled":true') ? [id] : [],
  );
  return new Map(
    BATCHES.map((batch) => {
      const then = `${batch}:then`;
      return [batch, [...ids, ...Object.keys(results), ...cancelled].filter((id) => id === then).length];
    }),
  );
}

async function expectRightful(model: Model): Promise<void> {
  const places = await following(model);
  for (const batch of BATCHES) {
    const view = await model.queue.batch.show(batch);
    const over = view?.endedAt !== undefined;
    expect(view?.left === 0, `${batch} is over when nothing is left`).toBe(over);
    // one that was dropped is nowhere
    expect(places.get(batch), `tasks that follow ${batch}`).toBeLessThanOrEqual(over ? 1 : 0);
    const parts = (view?.succeeded ?? 0) + (view?.failed ?? 0) + (view?.cancelled ?? 0) + (view?.left ?? 0);
    expect(parts, `parts of ${batch}`).toBe(view?.size);
    if (!over) expect(await leftOf(model.keys, batch), `left of ${batch}`).toBe(view?.left);
  }
}

/** Parts that have not ended, by the keys that have them. */
async function leftOf(keys: QueueKeys, batch: string): Promise<number> {
  const [named, numbered, blocks] = await Promise.all([
    redis.scard(keys.batchLeft(batch)),
    redis.hget(keys.batch(batch), 'numbered'),
    redis.hvals(keys.batchNumbered(batch)),
  ]);
  const open = blocks.join('').replaceAll('0', '').length;
  expect(open, `numbered parts left of ${batch}`).toBe(Number(numbered ?? 0));
  return numbered === null ? named : named - 1 + open;
}

/** Whatever happened: one worker that works properly brings all batches to their end. */
async function finish(model: Model): Promise<void> {
  for (const worker of [0, 1] as const) await take(model, { kind: 'lose', worker });
  const result = Array.from({ length: 40 }, () => 'result' as const);
  const isOver = async (): Promise<boolean> =>
    (await redis.llen(model.keys.queue)) +
      (await redis.hlen(model.keys.inflight(model.names.at(-1) ?? ''))) ===
    0;
  for (let i = 0; i < 40; i++) {
    const requeued = await model.queue.dead.requeue('all');
    await take(model, { kind: 'turn', worker: 0, want: 20, endings: result, lost: false });
    await expectRightful(model);
    if (requeued === 0 && i > 2 && (await isOver())) break;
  }
  for (const batch of BATCHES)
    expect((await model.queue.batch.show(batch))?.endedAt, `${batch} has ended`).toBeDefined();
  expect(await redis.llen(model.keys.queue)).toBe(0);
}
