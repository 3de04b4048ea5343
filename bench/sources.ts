/**
 * `sources`: a pool with a source beside one with a queue of Millrace, on the controller's sampler and one Redis, in turns: how long
 * from a push to an empty queue until the sample that shows it, and what a read costs Redis and the controller. Two connections
 * that only track a list and read its length are the floor.
 *
 * The push is the command that the library sends, and not its client, which takes its own time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { table } from '../cli/terminal/table.ts';
import { readFromSource, readQueues, type ReadOptions } from '../controller/sample/read.ts';
import { createSampler, type Sampler } from '../controller/sample/sampler.ts';
import { WakeMode } from '../controller/sample/wake.ts';
import { queueKeys, type QueueKeys } from '../queue/keys.ts';
import { defineScripts } from '../queue/scripts/scripts.ts';
import { sourceOf } from '../queue/sources/sources.ts';
import type { Source } from '../queue/sources/source.ts';
import {
  costFigure,
  goalLines,
  goalRows,
  goalsOf,
  median,
  parts,
  percentile,
  ratios,
  rounded,
  type Figure,
} from './report/figures.ts';
import { startBenchRedis, type BenchRedis } from './run/redis.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { openTrackingFloor } from './sources/tracking-floor.ts';

const ROUNDS = 200;
/** Parts of the wakes: what is compared is a value of each. */
const PARTS = 5;
/** Of the reads, in turns: some seconds in which the machine is slower are in those of all sources. */
const READ_PARTS = 15;
const READS = 200;
const FLOOR = 'the floor';
const STUCK_TIMEOUT_MS = 10_000;

interface Contestant {
  readonly name: string;
  readonly keys: QueueKeys;
  readonly source: Source | undefined;
  /** The list that a push goes to. */
  readonly list: string;
}

export const sources: Bench = async (options) => {
  await using server = await startBenchRedis(options.progress);
  const contestants = await prepare(server);
  const wakes = await measureWakes(server, contestants, options);
  const costs = await measureReads(server, contestants, options);
  const rows = contestants.map(({ name }) => {
    const cost = costs.get(name);
    const [redisUs, controllerUs] = [cost?.redisUs, cost?.controllerUs].map((values = []) =>
      rounded(median(values), 3),
    );
    return { name, ...summary(wakes.get(name) ?? []), redisUs, controllerUs };
  });
  const floor = {
    name: FLOOR,
    ...summary(wakes.get(FLOOR) ?? []),
    redisUs: undefined,
    controllerUs: undefined,
  };
  const all = [...rows, floor];
  const figures = figuresOf(contestants, wakes, costs);
  const goals = goalsOf(figures);
  const head = ['', 'PUSH TO SAMPLE, MS', 'P95', 'REDIS, µS A READ', 'CONTROLLER, µS A READ'];
  return {
    text: `${table(
      head,
      all.map(({ name, medianMs, p95Ms, redisUs, controllerUs }) => [
        name,
        medianMs,
        p95Ms,
        redisUs ?? '-',
        controllerUs ?? '-',
      ]),
    )}\n${goalLines(goals)}`,
    data: { redis: server.version, rows: all, goals: goalRows(goals) },
    figures,
  };
};

function summary(ms: readonly number[]): { readonly medianMs: number; readonly p95Ms: number } {
  return { medianMs: rounded(median(ms), 3), p95Ms: rounded(percentile(ms, 0.95), 3) };
}

function figuresOf(contestants: readonly Contestant[], wakes: Wakes, costs: Costs): Figure[] {
  const [own, ...others] = contestants.map(({ name }) => name);
  const medians = (name = ''): number[] => parts(wakes.get(name) ?? [], PARTS).map(median);
  const figure = (name: string, values: number[], more: Partial<Figure>): Figure => ({
    name,
    unit: '×',
    is: 'at most',
    values,
    ...more,
  });
  return [
    ...others.map((name) =>
      figure(`push to sample, ${name} to a queue of Millrace`, ratios(medians(name), medians(own)), {
        goal: 1.2,
      }),
    ),
    figure('push to sample, a queue of Millrace to the floor', ratios(medians(own), medians(FLOOR)), {}),
    ...contestants.flatMap(({ name }) => [
      costFigure(`Redis, a read of ${name}`, costs.get(name)?.redisUs ?? []),
      costFigure(`controller, a read of ${name}`, costs.get(name)?.controllerUs ?? []),
    ]),
  ];
}

/** Each with the keys that its library leaves when its queue is empty. */
async function prepare({ redis }: BenchRedis): Promise<readonly Contestant[]> {
  await redis.hset('bull:mail:meta', 'version', 'bullmq:6.7.0');
  await redis.sadd('rq:queues', 'rq:queue:mail');
  const of = (name: string, list: string, source?: Source): Contestant => ({
    name,
    list,
    source,
    keys: queueKeys(name, `${name}:result`),
  });
  const waiting = [{ command: 'LLEN' as const, key: 'jobs' }];
  const inHand = [{ command: 'HLEN' as const, key: 'jobs:running' }];
  return [
    of('queue', 'queue'),
    of('bullmq', 'bull:mail:wait', sourceOf({ bullmq: { queues: ['mail'], prefix: 'bull' } })),
    of('rq', 'rq:queue:mail', sourceOf({ rq: { queues: ['mail'] } })),
    of('custom', 'jobs', sourceOf({ custom: { waiting, inHand } })),
    of('list', 'list', sourceOf({ list: { keys: ['list'] } })),
  ];
}

/** ms from a push to its sample, by name. */
type Wakes = ReadonlyMap<string, readonly number[]>;

async function measureWakes(
  server: BenchRedis,
  contestants: readonly Contestant[],
  { rounds = ROUNDS, signal, progress }: BenchOptions,
): Promise<Wakes> {
  const seen = new Map<string, () => void>();
  await using sampler: Sampler = createSampler({
    address: { url: server.url },
    log: pino({ level: 'silent' }),
    onSample: (id) => {
      const latest = sampler.latest(id);
      if (latest.kind === 'known' && latest.sample.waiting > 0) seen.get(id)?.();
    },
  });
  for (const { name, keys, source } of contestants) {
    sampler.add(name, [keys], source);
    sampler.setActive(name, false, 0);
  }
  await until(() => sampler.wakeMode === WakeMode.Tracking);
  await using floor = await openTrackingFloor(server);
  const floorMs: number[] = [];
  const found = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const { name, list } of contestants) {
      signal.throwIfAborted();
      // the read that found it empty has armed it by then
      await until(() => isEmpty(sampler, name));
      await delay(20);
      const { promise, resolve } = Promise.withResolvers<void>();
      seen.set(name, resolve);
      const began = performance.now();
      await Promise.all([server.redis.lpush(list, '1'), promise]);
      found.get(name)?.push(performance.now() - began);
      seen.delete(name);
      sampler.setActive(name, true, 0);
      await server.redis.del(list);
      await until(() => isEmpty(sampler, name));
      sampler.setActive(name, false, 0);
    }
    await delay(20);
    floorMs.push(await floor.push('floor'));
    if ((round + 1) % 50 === 0) progress(`${round + 1} of ${rounds} wakes of each`);
  }
  return found.set(FLOOR, floorMs);
}

function isEmpty(sampler: Sampler, name: string): boolean {
  const latest = sampler.latest(name);
  return latest.kind === 'known' && latest.sample.waiting === 0;
}

async function until(holds: () => boolean): Promise<void> {
  const began = performance.now();
  while (!holds()) {
    if (performance.now() - began > STUCK_TIMEOUT_MS)
      throw new Error(`no sample within ${STUCK_TIMEOUT_MS / 1e3} s`);
    await delay(2);
  }
}

/** CPU time of one read, µs: of Redis and of this process, in each part. */
type Costs = ReadonlyMap<string, { readonly redisUs: number[]; readonly controllerUs: number[] }>;

async function measureReads(
  server: BenchRedis,
  contestants: readonly Contestant[],
  { signal, progress }: BenchOptions,
): Promise<Costs> {
  const { redis } = server;
  const scripted = defineScripts(redis);
  const reading: ReadOptions = {
    redisOf: () => scripted,
    log: pino({ level: 'silent' }),
    explain: (error) => ({ reason: 'Unreachable', why: String(error) }),
  };
  const read = async ({ name, keys, source }: Contestant): Promise<void> => {
    const { sampled } = await (source
      ? readFromSource(reading, source, [keys], 0)
      : readQueues(reading, [keys], 0));
    if (sampled.kind === 'unknown') throw new Error(`${name} could not be read: ${sampled.why}`);
  };
  const costs = new Map<string, { redisUs: number[]; controllerUs: number[] }>();
  for (const one of contestants) {
    for (let i = 0; i < READS; i++) await read(one);
    costs.set(one.name, { redisUs: [], controllerUs: [] });
  }
  for (let part = 0; part < READ_PARTS; part++) {
    for (const one of contestants) {
      signal.throwIfAborted();
      const [redisBefore, before] = [await server.cpuMs(), process.cpuUsage()];
      for (let i = 0; i < READS; i++) await read(one);
      const { user, system } = process.cpuUsage(before);
      const cost = costs.get(one.name);
      cost?.redisUs.push((1e3 * ((await server.cpuMs()) - redisBefore)) / READS);
      cost?.controllerUs.push((user + system) / READS);
    }
  }
  progress(`${READS * READ_PARTS} reads of each`);
  return costs;
}
