/**
 * `wake --source`: pools with a source beside pools with a queue of Millrace and with `source.list`, on one controller (the bundle)
 * and a real API server: how long from the first task in a pool at zero until the API server has the request for a replica, and
 * until it has the replica. Each pool is woken once, of each kind in turn, so that a slow minute hits all of them.
 *
 * A push is what the library's own client sends (recorded-push.ts). There are no workers: at zero replicas nobody can answer.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { table } from '../../cli/terminal/table.ts';
import { firstCases, kindOf } from '../../test/sources/cases.ts';
import type { LibraryCase } from '../../test/sources/library.ts';
import { bundledController, startController } from '../../test/support/controller.ts';
import { UsageError } from '../../runtime/program.ts';
import { goalLines, goalRows, median, percentile, rounded, shuffled, type Goal } from '../report/figures.ts';
import { libraryQueues, millraceQueues, type FleetKind } from '../fleet/queues.ts';
import { startFleetWorld, type FleetPool, type FleetWorld } from '../fleet/world.ts';
import { recordLibrary } from '../run/recorded-push.ts';
import type { Bench, BenchOptions, BenchReport } from '../report/report.ts';

const ROUNDS = 40;
const REST_MS = 60;
const WAKE_LIMIT_MS = 10_000;
const MOST_RATIO = 1.2;

/** Milliseconds since the epoch, with fractions. */
const now = (): number => performance.timeOrigin + performance.now();

interface Wake {
  readonly kind: string;
  readonly round: number;
  readonly key: string;
  readonly pushed: number;
  readonly raised: number;
}

/** The libraries of these fields of `spec.source`, `all` for all of them. Throws `UsageError` for one that is not there. */
export function casesOf(fields: string): readonly LibraryCase[] {
  const names = fields.split(',');
  const known = new Set(firstCases.map(kindOf));
  const stray = names.find((name) => name !== 'all' && !known.has(name));
  if (stray !== undefined)
    throw new UsageError(`there is no source "${stray}": there are ${[...known].join(', ')}`);
  return names.includes('all') ? firstCases : firstCases.filter((one) => names.includes(kindOf(one)));
}

export async function libraryKinds(
  libraries: readonly LibraryCase[],
  progress: (line: string) => void,
): Promise<readonly FleetKind[]> {
  const kinds: FleetKind[] = [];
  for (const library of libraries) {
    progress(`recording a push of ${library.name}`);
    kinds.push(libraryQueues(await recordLibrary(library)));
  }
  return kinds;
}

export const wakeSources: Bench = async (options) => {
  const { rounds = ROUNDS, source = 'all', progress, signal } = options;
  const libraries = casesOf(`${source},list`);
  const kinds = [millraceQueues('plain'), ...(await libraryKinds(libraries, progress))];
  progress('starting API server, pools and controller');
  await using world = await startFleetWorld((rounds + 1) * kinds.length, kinds, progress);
  await using controller = await startController({
    kubeconfig: world.kubeconfig,
    program: await bundledController(),
  });
  await world.until('all queues are armed', () => world.allArmed(), controller.ended);
  await world.until('all Deployments are there', () => world.allMade(), controller.ended);
  signal.throwIfAborted();
  const wakes = await wakeAll(world, kinds.length, options);
  return report(kinds, wakes, world.scaleRequests());
};

async function wakeAll(
  world: FleetWorld,
  kinds: number,
  { progress, signal }: BenchOptions,
): Promise<readonly Wake[]> {
  const waiting = new Map<string, (at: number) => void>();
  world.onReplicas = (key, replicas) => {
    if (replicas > 0) waiting.get(key)?.(now());
  };
  const wakeOne = async ({ namespace, name, kind, queue }: FleetPool, round: number): Promise<Wake> => {
    const key = `${namespace}/${name}`;
    const { promise, resolve } = Promise.withResolvers<number>();
    waiting.set(key, resolve);
    await delay(REST_MS * (1 + Math.random()));
    const pushed = now();
    await queue.push();
    const raised = await Promise.race([promise, delay(WAKE_LIMIT_MS, Infinity, { signal })]);
    await queue.empty();
    return { kind: kind.name, round, key, pushed, raised };
  };
  const wakes: Wake[] = [];
  for (let round = 0; round * kinds < world.pools.length; round++) {
    const pools = world.pools.slice(round * kinds, (round + 1) * kinds);
    for (const pool of shuffled(pools)) {
      signal.throwIfAborted();
      const one = await wakeOne(pool, round);
      // the first of each finds cold caches
      if (round > 0) wakes.push(one);
    }
    if (round > 0 && round % 10 === 0) progress(`${round} wakes of each`);
  }
  return wakes;
}

function report(
  kinds: readonly FleetKind[],
  wakes: readonly Wake[],
  requests: ReturnType<FleetWorld['scaleRequests']>,
): BenchReport {
  const rows = kinds.map(({ name }) => {
    const own = wakes.filter(({ kind }) => kind === name);
    const decided = own.map(
      ({ key, pushed }) =>
        (requests.find((one) => one.key === key && one.at >= pushed)?.at ?? Infinity) - pushed,
    );
    const raised = own.map(({ pushed, raised: at }) => at - pushed);
    return {
      name,
      wakes: own.length,
      decided: median(decided),
      raised: median(raised),
      p95: percentile(raised, 0.95),
    };
  });
  const took = (name: string): Map<number, number> =>
    new Map(
      wakes.filter(({ kind }) => kind === name).map(({ round, pushed, raised: at }) => [round, at - pushed]),
    );
  const base = took(kinds[0]?.name ?? '');
  const goals = rows.slice(1).map(({ name }): Goal => ({
    name: `push to replicas, ${name} to a queue of Millrace`,
    // within one round, which a busy moment hits as a whole
    measured: median([...took(name)].map(([round, ms]) => ms / (base.get(round) ?? NaN))),
    goal: MOST_RATIO,
    is: 'at most',
    unit: '×',
  }));
  const ms = (value: number): number => rounded(value, 3);
  const head = ['FROM ZERO', 'WAKES', 'PUSH TO REQUEST, MS', 'TO REPLICAS, MS', 'P95'];
  const cells = rows.map(({ name, wakes: count, decided, raised, p95 }) => [
    name,
    count,
    ms(decided),
    ms(raised),
    ms(p95),
  ]);
  return { text: `${table(head, cells)}\n${goalLines(goals)}`, data: { rows, goals: goalRows(goals) } };
}
