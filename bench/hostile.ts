/**
 * `hostile`: how fast a pool is woken while the same controller has tenants whose Redis is not to be believed: servers that
 * answer anything to every look and to every first command, send messages that are none, flood, or stay silent, and values beside queues that no
 * controller wrote. First without them, then with them. Goal: a wake within 250 ms, and memory within the chart's limit. A bare
 * request to scale, sent by this process at the moment of its push, is the floor.
 *
 * All share the machine with the API server; the lying servers share the process of the bench.
 */
import { table } from '../cli/terminal/table.ts';
import { DEPLOYMENTS, POOLS } from '../kube/resources.ts';
import { interval, sleep } from '../runtime/timers.ts';
import { bundledController, startController, type ControllerProcess } from '../test/support/controller.ts';
import { eventually } from '../test/support/eventually.ts';
import { fill, VALUES } from '../test/support/hostile-values.ts';
import { MESSAGES, REPLIES, startLyingRedis, type LyingRedis } from '../test/support/lying-redis.ts';
import { startRedis } from '../test/support/redis.ts';
import { playDeployments, poolManifest, startWorld, type World } from '../test/support/world.ts';
import { peakMbOf } from './run/child.ts';
import {
  goalLines,
  goalRows,
  median,
  parts,
  percentile,
  ratios,
  rounded,
  type Figure,
  type Goal,
} from './report/figures.ts';
import type { Bench } from './report/report.ts';

const HONEST = 20;
const WAKES = 60;
const POLL_MS = 2;
/** Parts of the wakes, whose ratios are compared. */
const PARTS = 5;
const FLOOR = { namespace: 'default', name: 'floor' };
/** `resources.limits.memory` of the chart. */
const LIMIT_MB = 256;

interface Row {
  readonly what: string;
  readonly p50: number;
  readonly p99: number;
  readonly peakMb: number;
  /** Of each wake, and of the bare request to scale that followed it, ms. */
  readonly tookMs: readonly number[];
  readonly floorMs: readonly number[];
}

export const hostile: Bench = async ({ rounds = WAKES, progress, signal }) => {
  await using stack = new AsyncDisposableStack();
  const world = stack.use(await startWorld());
  const playing = new AbortController();
  stack.defer(() => playing.abort());
  await playDeployments(world.transport, playing.signal);
  const program = await bundledController();
  const controller = stack.use(await startController({ kubeconfig: world.server.kubeconfig, program }));
  await controller.leading();
  await createHonest(world);
  await createFloor(world);

  const alone = await wakes(world, controller, 'honest pools alone', rounds, signal);
  progress(`${alone.what}: ${alone.p50} ms (p50), ${alone.p99} ms (p99)`);
  const tenants = await createHostile(world, stack);
  await sleep(5_000, signal);
  const beside = await wakes(world, controller, `beside ${tenants} that lie`, rounds, signal);
  // its connections close before the servers do
  await controller.stop();
  const rows = [alone, beside];
  const goals: Goal[] = [
    { name: 'wake p99', measured: beside.p99, goal: 250, is: 'at most', unit: ' ms' },
    { name: 'most memory', measured: beside.peakMb, goal: LIMIT_MB, is: 'at most', unit: ' MB' },
  ];
  const cells = rows.map(({ what, p50, p99, peakMb }) => [what, p50, p99, peakMb]);
  return {
    text: `${table(['POOLS', 'WAKE P50 MS', 'P99 MS', 'MOST MB'], cells)}\n${goalLines(goals)}`,
    data: { rows, goals: goalRows(goals) },
    figures: figuresOf(alone, beside),
  };
};

function figuresOf(alone: Row, beside: Row): Figure[] {
  const half = (ms: readonly number[]): number[] => parts(ms, PARTS).map(median);
  const wake = (name: string, { tookMs, floorMs }: Row): Figure => ({
    name: `push to replicas raised, to a bare request: p50, ${name}`,
    unit: '×',
    is: 'at most',
    values: ratios(half(tookMs), half(floorMs)),
  });
  const memory = (name: string, { peakMb }: Row): Figure => ({
    name: `controller, most memory, ${name}`,
    unit: ' MB',
    is: 'at most',
    values: [peakMb],
    least: 10,
  });
  return [
    wake(`${HONEST} pools`, alone),
    wake('beside pools that lie', beside),
    memory(`${HONEST} pools`, alone),
    memory('beside pools that lie', beside),
  ];
}

const nameOf = (i: number): string => `honest-${i}`;

async function createHonest({ objects, redis }: World): Promise<void> {
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  for (let i = 0; i < HONEST; i++)
    await objects.create(POOLS, 'default', poolManifest(nameOf(i), redis, { scaling }));
}

/** A Deployment at zero that belongs to nobody. */
async function createFloor({ objects }: World): Promise<void> {
  const labels = { app: FLOOR.name };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'worker', image: 'worker:1' }] } };
  const spec = { replicas: 0, selector: { matchLabels: labels }, template };
  await objects.create(DEPLOYMENTS, FLOOR.namespace, { metadata: { name: FLOOR.name }, spec });
}

/** Returns how many pools lie. Their values are in a Redis of their own, as it has its hands full with them. */
async function createHostile(world: World, stack: AsyncDisposableStack): Promise<number> {
  const { objects } = world;
  const namespace = await world.namespace();
  let count = 0;
  const add = async (redis: { url: string }, name = `lie-${count}`): Promise<void> => {
    const scaling = { tasksPerReplica: 1, targetWait: '5s' };
    await objects.create(POOLS, namespace, poolManifest(name, redis, { scaling }));
    count++;
  };
  for (const lie of Object.values(REPLIES)) {
    for (const told of [{ eval: lie }, { info: lie }]) {
      const server = stack.use(await startLyingRedis());
      server.tell(told);
      await add(server.address);
    }
  }
  const servers: (readonly [LyingRedis, string])[] = [];
  const publishing = interval(500, () => {
    for (const [server, message] of servers) server.publish(message);
  });
  stack.defer(() => publishing.clear());
  for (const message of Object.values(MESSAGES)) {
    const server = stack.use(await startLyingRedis());
    servers.push([server, message]);
    await add(server.address);
  }
  const valued = stack.use(await startRedis());
  for (const name of Object.keys(VALUES)) {
    await fill(valued.client(), namespace, name);
    await add(valued, name);
  }
  return count;
}

/** Pushes one task into one idle queue after the other. Returns the times until the Deployments are raised, ms. */
async function wakes(
  { objects, redis: server }: World,
  controller: ControllerProcess,
  what: string,
  rounds: number,
  signal: AbortSignal,
): Promise<Row> {
  const redis = server.client();
  const tookMs: number[] = [];
  const floorMs: number[] = [];
  const scaleFloor = async (replicas: number): Promise<void> =>
    void (await objects.patch(DEPLOYMENTS, FLOOR, { spec: { replicas } }, 'scale'));
  const replicasOf = async (name: string): Promise<number | undefined> =>
    (await objects.get(DEPLOYMENTS, { namespace: 'default', name })).spec?.replicas;
  const raised = async (name: string): Promise<void> => {
    while (((await replicasOf(name)) ?? 0) === 0) await sleep(POLL_MS, signal);
  };
  for (let i = 0; i < rounds; i++) {
    signal.throwIfAborted();
    const name = nameOf(i % HONEST);
    const atRest = async (): Promise<void> => {
      if ((await replicasOf(name)) !== 0) throw new Error(`${name} does not become idle`);
    };
    await eventually(atRest, { withinMs: 60_000 });
    await sleep(300 + 400 * Math.random(), signal);
    const pushed = performance.now();
    await redis.lpush(name, 'task');
    await raised(name);
    tookMs.push(performance.now() - pushed);
    await redis.del(name);
    const asked = performance.now();
    await redis.lpush(FLOOR.name, 'task');
    await Promise.all([scaleFloor(1), raised(FLOOR.name)]);
    floorMs.push(performance.now() - asked);
    await redis.del(FLOOR.name);
    await scaleFloor(0);
  }
  return {
    what,
    p50: rounded(percentile(tookMs, 0.5)),
    p99: rounded(percentile(tookMs, 0.99)),
    peakMb: rounded(peakMbOf(controller.pid) ?? Number.NaN),
    tookMs,
    floorMs,
  };
}
