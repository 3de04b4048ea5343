/**
 * One chaos run in a real cluster (`npm run chaos -- --kind`): the chart, a WorkerPool, and a Redis that keeps everything in
 * a folder of the node. Handlers write their ledger into another folder there. Pods are deleted, evicted, killed for their
 * memory, rolled out and scaled in under load; then the same judgement as in `run.ts`.
 *
 * Whether a pod was killed or asked to stop is known from the faults, and from tasks that took all memory; of every other
 * pod no run may have been cut off.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { queueKeys } from '../../queue/keys.ts';
import { openQueue } from '../../queue/queue.ts';
import { buildImages } from '../../scripts/images.ts';
import { startCluster } from '../kind/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { REDIS_IMAGE } from '../support/kind-images.ts';
import { install, REDIS_NODE_PORT, type Release } from '../support/kind-install.ts';
import { readHistory } from './aof.ts';
import { check, type DoneFault, type Evidence, type Life } from './check.ts';
import { openClients } from './clients.ts';
import { readCustody } from './custody.ts';
import { MAX_REPLICAS, POOL, readyPods, strikeKind } from './kind-faults.ts';
import type { KindPlan } from './kind-plan.ts';
import { leftovers } from './leftovers.ts';
import { readLedger, type Run } from './ledger.ts';
import { playRounds } from './rounds.ts';
import { CLIENT_PATIENCE_MS, stopped, type Outcome, type RunOptions } from './run.ts';
import { ATTEMPTS } from './tasks.ts';

const run = promisify(execFile);

const IMAGE = 'millrace-test/chaos:1';
/** On the node; a run has a folder in it. */
const NODE_FOLDER = '/var/lib/millrace-chaos';
/** An idle queue is looked at twice a minute: one look buries a worker that was lost, and a later one clears the grave. */
const SWEPT_MS = 90_000;
const LOOK_MS = 1_000;

/** Rejects when something of the run itself fails; what it finds about Millrace is in the outcome. */
export async function runKindChaos(
  plan: KindPlan,
  { limitMs, signal, progress }: Omit<RunOptions, 'plan' | 'workers'>,
): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const local = await mkdtemp(join(tmpdir(), 'millrace-chaos-'));
  stack.defer(() => rm(local, { recursive: true, force: true }));
  progress('starting the cluster and building images');
  const cluster = stack.use(await startCluster());
  const { worker, controller } = await buildImages();
  await buildHandler(worker);
  await cluster.loadImages([controller, IMAGE, REDIS_IMAGE]);
  const node = `${cluster.place.name}-control-plane`;
  const folder = `${NODE_FOLDER}/${plan.seed}-${Date.now()}`;
  stack.defer(async () => void (await run('docker', ['exec', node, 'rm', '-rf', folder])));
  const release = stack.use(
    await install(cluster, { values: () => ({ replicas: 2 }), redis: 'own', keep: `${folder}/redis` }),
  );
  const { redis } = release;
  const keys = queueKeys(POOL, `${POOL}:result`);
  const url = `redis://${cluster.place.node}:${REDIS_NODE_PORT}`;
  await using queue = openQueue({ redis: url, queue: keys.queue, result: keys.result });
  const clients = stack.use(openClients({ address: { url }, queues: [keys], plain: [], ledger: local }));
  await cluster.applyYaml(poolManifest(release, `${folder}/ledger`));
  const broken = new AbortController();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs), broken.signal]);

  const began = performance.now();
  let workers = 0;
  let scaled = { up: 0, down: 0 };
  const note = ({ workers: now }: { workers: number }): void => {
    scaled = { up: scaled.up + Number(now > workers), down: scaled.down + Number(now < workers) };
    workers = now;
  };
  const look = setInterval(() => void queue.inspect().then(note, () => undefined), LOOK_MS);
  const struck = await playRounds(plan.rounds, {
    redisOf: () => redis,
    queues: [keys],
    clients,
    limit,
    progress,
    strike: (fault) => strikeKind(release, fault),
    prepare: () => Promise.resolve(),
    workers: () => workers,
    onBroken: (error) => broken.abort(error),
  }).finally(() => clearInterval(look));
  const tookMs = performance.now() - began;
  const complaints = await clients.complaints(limit.aborted ? 0 : CLIENT_PATIENCE_MS);
  progress(`all tasks settled: ${limit.aborted ? 'no' : 'yes'}; waiting until the pool sleeps`);
  const left = limit.aborted
    ? []
    : await asleep(release).then(() => leftovers(() => redis, [keys], new Set(), SWEPT_MS));
  const [results, dead] = await Promise.all([
    redis.hgetall(keys.result),
    readDeadLetters(redis, keys, 1_000_000),
  ]);
  await run('docker', ['cp', `${node}:${folder}/.`, local]);
  const runs = await readLedger(join(local, 'ledger'));
  const faults = [...struck, ...memoryKills(runs)];
  const evidence: Evidence = {
    tasks: plan.tasks,
    custody: readCustody(
      await readHistory(join(local, 'redis'), join(local, 'redis', 'appendonlydir')),
      keys,
    ),
    runs,
    lives: livesOf(runs, faults),
    faults,
    results: new Map(Object.entries(results)),
    dead: dead.map(({ id, raw, attempts }) => ({ id: id ?? raw.toString(), attempts })),
    plain: [],
    leftovers: left,
    complaints: limit.aborted ? [...complaints, stopped(signal, limitMs)] : complaints,
  };
  return { violations: check(evidence), evidence, tookMs, scaled, log: [] };
}

/** The worker with the handler of the chaos run, as a user would make it. */
async function buildHandler(worker: string): Promise<void> {
  const context = join(import.meta.dirname, '..');
  const lines = [
    `FROM ${worker}`,
    'COPY chaos/ledger.ts /app/chaos/',
    'COPY fixtures/chaos-handler.ts /app/fixtures/',
  ];
  const env = { ...process.env, DOCKER_BUILDKIT: '0' };
  const building = run('docker', ['build', '--tag', IMAGE, '--file', '-', context], { env });
  building.child.stdin?.end(lines.join('\n'));
  await building;
}

function poolManifest({ namespace, redisUrl }: Release, ledger: string): string {
  const container = {
    name: 'worker',
    image: IMAGE,
    args: ['--module', '/app/fixtures/chaos-handler.ts'],
    env: [
      { name: 'CHAOS_LEDGER', value: '/ledger' },
      { name: 'MILLRACE_LEASE', value: '5s' },
    ],
    resources: { limits: { memory: '192Mi' } },
    // the folder is the node's
    securityContext: { runAsUser: 0 },
    volumeMounts: [{ name: 'ledger', mountPath: '/ledger' }],
  };
  const template = {
    spec: {
      terminationGracePeriodSeconds: 30,
      containers: [container],
      volumes: [{ name: 'ledger', hostPath: { path: ledger, type: 'DirectoryOrCreate' } }],
    },
  };
  return JSON.stringify({
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { name: POOL, namespace },
    spec: {
      redis: { url: redisUrl },
      queue: POOL,
      result: `${POOL}:result`,
      template,
      concurrency: 2,
      maxReplicas: MAX_REPLICAS,
      scaling: { tasksPerReplica: 20, scaleDown: { window: '2s' } },
      retry: { attempts: ATTEMPTS, backoff: { initial: '50ms', max: '1s' } },
    },
  });
}

/** Resolves when no worker is left. */
async function asleep(release: Release): Promise<void> {
  await eventually(
    async () => {
      const pods = await readyPods(release);
      if (pods.length > 0) throw new Error(`the pool does not sleep: ${pods.join(', ')}`);
    },
    { withinMs: 60_000, everyMs: 250 },
  );
}

/** Tasks that took all memory and never ended: the kernel ended their containers. */
function memoryKills(runs: readonly Run[]): DoneFault[] {
  return runs
    .filter(({ id, ended }) => id.startsWith('hog') && !ended)
    .map(({ id, worker, begun }) => ({
      kind: 'kill for memory',
      what: `${id} took all memory of ${worker}`,
      from: begun,
      to: begun,
      workers: [worker],
    }));
}

/** Processes by their ledgers: of a pod that a fault killed, or of one that was asked to stop. */
function livesOf(runs: readonly Run[], faults: readonly DoneFault[]): Life[] {
  const killed = new Set(faults.flatMap(({ workers }) => workers));
  return [...Map.groupBy(runs, ({ worker, pid }) => `${worker}@${pid}`).values()].map((own): Life => {
    const { worker, pid, begun } = own[0] as Run;
    const to = Math.max(...own.map((one) => one.ended?.at ?? one.begun));
    return { worker, pid, end: killed.has(worker) ? 'killed' : 'outside', from: begun, to };
  });
}
