/**
 * `batches`: fan-out and join of no-op tasks, from the first push to the result of the task that follows: a batch of Millrace, beside
 * as many plain tasks of it, a flow of BullMQ (a parent and its children), and a chord of Celery over Redis. One worker process each.
 *
 * They run one after the other, round after round; ratios are of the time for a task, within the same round.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FlowProducer, QueueEvents } from 'bullmq';
import { setTimeout as delay } from 'node:timers/promises';
import { table } from '../cli/terminal/table.ts';
import { openQueue, type Queue } from '../queue/queue.ts';
import { preparePython } from '../test/support/python.ts';
import { startChild } from './run/child.ts';
import { millraceWorker } from './run/contestants.ts';
import {
  costFigure,
  goalLines,
  goalRows,
  goalsOf,
  median,
  ratios,
  rounded,
  thousands,
  type Figure,
} from './report/figures.ts';
import { startBenchRedis, type BenchRedis } from './run/redis.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { waitReady } from './run/rounds.ts';
import { range } from './run/tasks.ts';
import { prepareWorkerBundle } from './run/worker-bundle.ts';

const CONCURRENCY = 100;
const TASKS = 100_000;
/** A chord has one in so many tasks, because more take minutes. */
const CHORD_SHARE = 5;
/** One in so many tasks. */
const WARM_UP_SHARE = 20;
const ROUNDS = 3;
const POLL_MS = 5;

/** Fans out so many tasks, and resolves to the ms until they are joined. */
type FanOut = (count: number) => Promise<number>;

interface Measured {
  readonly name: string;
  readonly tasks: number;
  readonly fanOut: FanOut;
  /** Of each round: ms, and CPU time of Redis, for a task. */
  readonly us: number[];
  readonly redisUs: number[];
}

export const batches: Bench = async (options) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startBenchRedis(options.progress));
  const tasks = options.tasks ?? TASKS;
  const { batch, plain } = await openMillrace(server, stack, options);
  const flow = openFlow(server, stack);
  const row = (name: string, count: number, fanOut: FanOut): Measured => ({
    name,
    tasks: count,
    fanOut,
    us: [],
    redisUs: [],
  });
  const [batchRow, plainRow, flowRow] = [
    row('Millrace, a batch', tasks, batch),
    row('Millrace, plain tasks', tasks, plain),
    row('BullMQ, a flow', tasks, flow),
  ] as const;
  const chords = options.pythonLibraries
    ? [row('Celery, a chord', Math.ceil(tasks / CHORD_SHARE), await openChord(server, stack, options))]
    : [];
  const rows = [batchRow, plainRow, flowRow, ...chords];
  for (const { name, tasks: count, fanOut } of rows) {
    await fanOut(Math.ceil(count / WARM_UP_SHARE));
    options.progress(`${name}: warm`);
  }
  for (let round = 0; round < (options.rounds ?? ROUNDS); round++)
    for (const measured of rows) await measure(server, measured, options);
  const compared = comparedOf({ batch: batchRow, plain: plainRow, flow: flowRow, chords });
  const goals = goalsOf(compared);
  const figures = rows.map(({ name, tasks: count, us, redisUs }) => ({
    name,
    tasks: count,
    seconds: rounded((median(us) * count) / 1e6, 3),
    usPerTask: rounded(median(us), 3),
    redisUsPerTask: rounded(median(redisUs), 3),
  }));
  const head = ['', 'TASKS', 'S', 'US/TASK', 'REDIS US/TASK'];
  const cells = figures.map((one) => [
    one.name,
    thousands(one.tasks),
    one.seconds,
    one.usPerTask,
    one.redisUsPerTask,
  ]);
  return {
    text: `${table(head, cells)}\n${goalLines(goals)}`,
    data: { redis: server.version, contestants: figures, goals: goalRows(goals) },
    figures: compared,
  };
};

interface Rows {
  readonly batch: Measured;
  readonly plain: Measured;
  readonly flow: Measured;
  readonly chords: readonly Measured[];
}

function comparedOf({ batch, plain, flow, chords }: Rows): Figure[] {
  const ratio = (name: string, is: Figure['is'], goal: number, above: Measured, below: Measured): Figure => ({
    name,
    unit: '',
    is,
    goal,
    values: ratios(above.us, below.us),
  });
  const redis = ({ name, redisUs }: Measured): Figure =>
    costFigure(`Redis, ${name.replace('Millrace, ', '')}: a task`, redisUs);
  return [
    ratio('time of a task: batch / plain', 'at most', 1.3, batch, plain),
    ratio("BullMQ's flow / batch", 'at least', 8, flow, batch),
    ...chords.map((chord) => ratio("Celery's chord / batch", 'at least', 20, chord, batch)),
    redis(batch),
    redis(plain),
  ];
}

async function measure(server: BenchRedis, measured: Measured, options: BenchOptions): Promise<void> {
  options.signal.throwIfAborted();
  const { name, tasks, fanOut } = measured;
  const before = await server.cpuMs();
  const tookMs = await fanOut(tasks);
  measured.us.push((1e3 * tookMs) / tasks);
  measured.redisUs.push((1e3 * ((await server.cpuMs()) - before)) / tasks);
  options.progress(`${name}: ${thousands(tasks)} in ${rounded(tookMs / 1e3, 3)} s`);
}

async function openMillrace(
  server: BenchRedis,
  stack: AsyncDisposableStack,
  options: BenchOptions,
): Promise<{ readonly batch: FanOut; readonly plain: FanOut }> {
  const worker = stack.use(await millraceWorker(server, await prepareWorkerBundle(stack), CONCURRENCY));
  await waitReady(worker, options.signal);
  const names = { queue: `millrace-${CONCURRENCY}`, result: `millrace-${CONCURRENCY}:result` };
  const queue = stack.use(openQueue({ redis: server.url, ...names }));
  const clear = async (): Promise<void> => void (await server.redis.unlink(names.result));
  let last = 0;
  const batch: FanOut = async (count) => {
    const began = performance.now();
    const { then } = await queue.batch(numbers(count), { id: `batch-${++last}`, then: { n: -1 } });
    await queue.result(then ?? '');
    const tookMs = performance.now() - began;
    await expectResults(server, names.result, count + 1);
    await clear();
    return tookMs;
  };
  const plain: FanOut = async (count) => {
    const began = performance.now();
    await pushPlain(queue, count, ++last);
    while ((await server.redis.hlen(names.result)) < count) await delay(POLL_MS);
    const tookMs = performance.now() - began;
    await clear();
    return tookMs;
  };
  return { batch, plain };
}

async function pushPlain(queue: Queue, count: number, run: number): Promise<void> {
  function* tasks(): Generator<object> {
    for (let n = 0; n < count; n++) yield { id: `plain-${run}:${n}`, n };
  }
  await queue.enqueueMany(tasks());
}

function* numbers(count: number): Generator<object> {
  for (let n = 0; n < count; n++) yield { n };
}

async function expectResults({ redis }: BenchRedis, result: string, count: number): Promise<void> {
  const found = await redis.hlen(result);
  if (found !== count) throw new Error(`a batch left ${found} results of ${count}`);
}

/** A parent whose children are in the same queue, as its guide shows flows. */
function openFlow(server: BenchRedis, stack: AsyncDisposableStack): FanOut {
  const queueName = `bullmq-flow`;
  const connection = { url: server.url };
  stack.use(
    startChild({
      args: [`${import.meta.dirname}/workers/client-bullmq.ts`, server.url, queueName, String(CONCURRENCY)],
      env: process.env,
    }),
  );
  const flows = new FlowProducer({ connection });
  const events = new QueueEvents(queueName, { connection });
  stack.defer(async () => void (await Promise.all([flows.close(), events.close()])));
  return async (count) => {
    const began = performance.now();
    const children = range(0, count, (n) => ({ name: 'task', queueName, data: { n } }));
    const { job } = await flows.add({ name: 'parent', queueName, data: { n: -1 }, children });
    await job.waitUntilFinished(events);
    const tookMs = performance.now() - began;
    const { processed = {} } = await job.getDependencies();
    if (Object.keys(processed).length === 0) throw new Error('a flow joined no children');
    await removeKeys(server, `bull:${queueName}:*`);
    return tookMs;
  };
}

/** What a run has left, but for what its worker has registered. */
async function removeKeys({ redis }: BenchRedis, pattern: string): Promise<void> {
  for (let cursor = '0'; ;) {
    const [next, keys] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 10_000);
    const jobs = keys.filter((key) => !/:(?:meta|marker|id|events|stalled-check)$/.test(key));
    if (jobs.length > 0) await redis.unlink(...jobs);
    cursor = next;
    if (cursor === '0') return;
  }
}

async function openChord(
  { url, redis }: BenchRedis,
  stack: AsyncDisposableStack,
  { signal }: BenchOptions,
): Promise<FanOut> {
  const folder = join(import.meta.dirname, 'workers');
  const python = await preparePython(
    await readFile(join(folder, '../../test/sources/python/celery.txt'), 'utf8'),
  );
  if (python instanceof Error) throw python;
  const program = join(folder, 'python_noop.py');
  const env = { ...process.env, REDIS_URL: url, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' };
  const child = stack.use(startChild({ file: python, args: [program, 'work', 'celery', '1'], env }));
  while ((await redis.get('ready:celery')) === null) {
    await child.expectAlive();
    await delay(POLL_MS, undefined, { signal });
  }
  return async (count) => {
    const run = promisify(execFile)(python, [program, 'chord', 'celery', String(count)], { env });
    // it measures itself: starting Python is not part of it
    return 1e3 * Number((await run).stdout.trim());
  };
}
