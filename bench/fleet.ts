/**
 * `fleet`: one controller process (the bundle, run as in the image) with thousands of WorkerPools on a real API server and one
 * Redis. All pools are idle but for one in a hundred. Three measurements for each number of pools:
 *
 * - the first start: nothing of the pools' Deployments is there yet, all are made;
 * - a start: everything is there, as when a controller is replaced. From the start of the process until Redis would tell it of
 *   a push into any queue;
 * - a minute of work: processor time, memory, requests, and wakes of idle queues.
 *
 * With `--adopted`, the Deployments are there and belong to others, so nothing is made at the first start.
 *
 * With `--source all`, three fleets instead: of queues of Millrace, of lists, and of these sources, with what their own clients push.
 *
 * API server, etcd, Redis, the stand-ins and the controller share the machine. Processor time and memory are the controller's
 * alone, from /proc; times are longer than they would be with the API server elsewhere.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { bundle } from '../scripts/bundle.ts';
import { startController, type ControllerProcess } from '../test/support/controller.ts';
import { cpuMsOf, memoryOf, peakMbOf } from './run/child.ts';
import { goalLines, goalRows, median, rounded, thousands, type Goal } from './report/figures.ts';
import { millraceQueues, type FleetKind } from './fleet/queues.ts';
import { work, type Work } from './fleet/work.ts';
import { startFleetWorld, type FleetWorld } from './fleet/world.ts';
import type { Bench, BenchOptions, BenchReport } from './report/report.ts';
import { casesOf, libraryKinds } from './sources/wake-sources.ts';
import { listCase } from '../test/sources/plain.ts';

const GOALS_AT = 10_000;
const ROOT = join(import.meta.dirname, '..');

interface Start {
  /** Since the process was started, until every queue was armed, s. */
  readonly armedS: number;
  /** Until every Deployment was there, s. */
  readonly madeS: number;
  /** Until every status was written, and it was idle. */
  readonly restS: number;
  readonly cpuS: number;
  readonly peakMb: number;
  readonly requests: Readonly<Record<string, number>>;
}

interface Row {
  readonly pools: number;
  readonly firstStart: Start;
  readonly start: Start;
  readonly idleMb: number;
  readonly work: Work;
}

export const fleet: Bench = async (options) => {
  await bundle('controller');
  if (options.source !== undefined) return beside(options.source, options);
  const rows: Row[] = [];
  for (const pools of options.fleet.pools)
    rows.push(await measure(pools, [millraceQueues('mixed')], options));
  const largest = rows.at(-1);
  const goals = largest && largest.pools >= GOALS_AT ? goalsOf(largest) : [];
  const note = goals.length > 0 ? '' : `the goals are for ${thousands(GOALS_AT)} pools\n`;
  return {
    text: `${rows.map(words).join('\n')}\n${goals.length > 0 ? goalLines(goals) : note}`,
    data: { rows, goals: goalRows(goals) },
  };
};

/** Pools of other libraries, beside as many with queues of Millrace, and as many with lists, one fleet after the other. */
async function beside(source: string, options: BenchOptions): Promise<BenchReport> {
  const { progress, rounds = 1 } = options;
  const [pools = 1_000] = options.fleet.pools;
  const all = await libraryKinds(casesOf(source), progress);
  const lists = await libraryKinds([listCase], progress);
  const fleets: [string, readonly FleetKind[]][] = [
    ['queues of Millrace', [millraceQueues('plain')]],
    ['lists', lists],
    ['sources', all],
  ];
  const rows: (Row & { readonly of: string })[] = [];
  for (let round = 0; round < rounds; round++)
    for (const [of, kinds] of fleets) {
      progress(`a fleet of ${of}`);
      const row = await measure(pools, kinds, options);
      progress(words(row));
      rows.push({ of, ...row });
    }
  const figure = (of: string, value: (row: Row) => number): number =>
    median(rows.filter((row) => row.of === of).map(value));
  const ratios: [string, (row: Row) => number][] = [
    ['cores', ({ work: { cores } }) => cores],
    ['memory', ({ start, work: { peakMb } }) => Math.max(start.peakMb, peakMb)],
  ];
  const goals = ['queues of Millrace', 'lists'].flatMap((base) =>
    ratios.map(([what, value]): Goal => ({
      name: `${what}, sources to ${base}`,
      measured: figure('sources', value) / figure(base, value),
      goal: 1.3,
      is: 'at most',
      unit: '×',
    })),
  );
  const texts = rows.map((row) => `${row.of}: ${words(row)}`);
  return { text: `${texts.join('\n')}\n${goalLines(goals)}`, data: { rows, goals: goalRows(goals) } };
}

function goalsOf({ firstStart, start, work: { cores, peakMb, raised } }: Row): Goal[] {
  return [
    { name: 'cores used', measured: cores, goal: 1, is: 'at most', unit: '' },
    { name: 'first start', measured: firstStart.madeS, goal: 150, is: 'at most', unit: ' s' },
    { name: 'resident', measured: Math.max(start.peakMb, peakMb), goal: 250, is: 'at most', unit: ' MB' },
    { name: 'wake p50', measured: raised.p50, goal: 40, is: 'at most', unit: ' ms' },
    { name: 'wake p99', measured: raised.p99, goal: 250, is: 'at most', unit: ' ms' },
  ];
}

async function measure(pools: number, kinds: readonly FleetKind[], options: BenchOptions): Promise<Row> {
  const { progress, signal } = options;
  progress(`${thousands(pools)} pools: creating them`);
  await using world = await startFleetWorld(pools, kinds, progress, options.fleet.adopted);
  progress('first start');
  const firstStart = await startOnce(world, options, 'first');
  progress(JSON.stringify(firstStart));
  signal.throwIfAborted();
  // what the old process had armed would count for the new one
  await world.redis.flushall();
  for (const { queue } of world.pools) await queue.reopen();
  progress('start with everything in place');
  await using controller = await launch(world, options, 'work');
  const start = await untilRest(world, controller, 'later');
  progress(JSON.stringify(start));
  const idleMb = residentMb(controller.pid);
  signal.throwIfAborted();
  progress('one minute of work');
  const done = await work(world, controller, signal);
  if (options.fleet.profile) await controller.stop();
  return { pools, firstStart, start, idleMb, work: done };
}

async function startOnce(world: FleetWorld, options: BenchOptions, name: string): Promise<Start> {
  await using controller = await launch(world, options, name);
  const start = await untilRest(world, controller, 'first');
  await controller.stop();
  return start;
}

/** Node's flags as in the image. */
async function launch(
  world: FleetWorld,
  { fleet: { profile } }: BenchOptions,
  name: string,
): Promise<ControllerProcess> {
  const dockerfile = await readFile(join(ROOT, 'images/controller.Dockerfile'), 'utf8');
  const entryPoint = JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(dockerfile)?.[1] ?? '[]') as string[];
  const profiling =
    profile === undefined
      ? []
      : ['cpu', 'heap'].flatMap((kind) => [
          `--${kind}-prof`,
          `--${kind}-prof-dir=${profile}`,
          `--${kind}-prof-name=${name}.${kind}profile`,
        ]);
  const program = [...entryPoint.slice(1, -1), ...profiling, join(ROOT, 'dist/bundle/controller.js')];
  return startController({ kubeconfig: world.kubeconfig, program });
}

async function untilRest(
  world: FleetWorld,
  controller: ControllerProcess,
  kind: 'first' | 'later',
): Promise<Start> {
  const before = await world.requests();
  const started = performance.now();
  const seconds = (): number => rounded((performance.now() - started) / 1_000, 3);
  const until = (what: string, holds: () => Promise<boolean>): Promise<void> =>
    world.until(what, holds, controller.ended);
  await until('all queues are armed', () => world.allArmed());
  const armedS = seconds();
  if (kind === 'first') await until('all Deployments are there', () => world.allMade());
  const madeS = seconds();
  if (kind === 'first') await until('all statuses are written', () => haveStatuses(world, before));
  await until('the controller rests', () => rests(controller.pid, world.pools.length));
  return {
    armedS,
    madeS,
    restS: seconds(),
    cpuS: rounded(cpuMs(controller.pid) / 1_000, 3),
    peakMb: Math.round(peakMbOf(controller.pid) ?? NaN),
    requests: world.difference(before, await world.requests()),
  };
}

/** As many were written as there are pools. To ask costs the API server a page of all of its metrics. */
async function haveStatuses(
  world: FleetWorld,
  before: Awaited<ReturnType<FleetWorld['requests']>>,
): Promise<boolean> {
  await delay(2_000);
  const requests = world.difference(before, await world.requests());
  return (requests['PATCH workerpools/status'] ?? 0) >= world.pools.length;
}

/** Uses little for a second: a tenth of a core, and what the reads of idle queues cost on a busy machine. */
async function rests(pid: number, pools: number): Promise<boolean> {
  const before = cpuMs(pid);
  await delay(1_000);
  return cpuMs(pid) - before < 100 + pools / 50;
}

function cpuMs(pid: number): number {
  return cpuMsOf(pid) ?? NaN;
}

function residentMb(pid: number): number {
  return Math.round(memoryOf(pid)?.residentMb ?? NaN);
}

function words({ pools, firstStart, start, idleMb, work: done }: Row): string {
  const begun = (name: string, { armedS, madeS, restS, cpuS, peakMb, requests }: Start): string =>
    `  ${name}: all armed after ${armedS} s, all Deployments there after ${madeS} s, at rest after ${restS} s; ${cpuS} s of processor time, at most ${peakMb} MB\n    ${counts(requests)}\n`;
  const wait = ({ p50, p99 }: { p50: number; p99: number }): string => `p50 ${p50} ms, p99 ${p99} ms`;
  return [
    `${thousands(pools)} pools\n`,
    begun('first start', firstStart),
    begun('start', start),
    `  at rest: ${idleMb} MB\n`,
    `  work: ${done.cores} cores, at most ${done.peakMb} MB, ${done.tasks} tasks in ${done.seconds} s\n`,
    `    ${done.wakes} wakes of idle queues. Push until the request to scale reached the API server: ${wait(done.decided)}; until the replicas were raised there: ${wait(done.raised)}\n`,
    `    ${rounded(done.requestsPerSecond, 3)} requests a second: ${counts(done.requests)}\n`,
  ].join('');
}

function counts(requests: Readonly<Record<string, number>>): string {
  const all = Object.entries(requests).toSorted(([, a], [, b]) => b - a);
  return all.map(([what, count]) => `${count} ${what}`).join(', ') || 'no requests';
}
