/**
 * An empty pool wakes by the push itself, and its processes cost little. How long everything takes is printed;
 * `npm run bench -- wake` holds that against goals.
 */
import { describe, expect, inject, test } from 'vitest';
import { metric } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { poolOf, type Pool } from '../support/kind-pool.ts';
import { SYSTEM, useRelease, type Release } from '../support/kind-release.ts';
import { watch, type Watch } from '../support/kind-watch.ts';
import { behind, squares, squaresTemplate } from '../support/squares.ts';

const place = inject('cluster');
const PUSHES = 5;

describe.skipIf(!place)('a pool that sleeps', () => {
  const release = useRelease(place, { values: () => ({ redis: { enabled: true, auth: false } }) });

  test('wakes by a push', async () => {
    const pool = poolOf(release(), 'sleeper');
    await pool.apply({ template: squaresTemplate(), scaling: { scaleDown: { window: '1s' } } });
    await pool.asleep();
    using replicas = await watch(release(), ['deployment', pool.name], '{.spec.replicas}');
    using ready = await watch(release(), ['deployment', pool.name], '{.status.readyReplicas}');
    const before = await pushesHeard(release(), pool);
    const rows: Wake[] = [];
    for (let i = 0; i < PUSHES; i++) rows.push(await oneWake(pool, release(), i, replicas, ready));
    console.log('push to an empty pool, ms until:');
    console.table(rows);
    // a poll finds a task, too, but hears of no push; one may come just as the controller reads the queue
    expect((await pushesHeard(release(), pool)) - before).toBeGreaterThan(PUSHES / 2);
  });

  test('costs little, and so does its controller', async () => {
    const pool = poolOf(release(), 'idle');
    await pool.apply({ template: squaresTemplate(), minReplicas: 1 });
    const { namespace } = release();
    const [worker = ''] = await eventually(
      async () => {
        expect(await pool.remains()).toMatchObject({ workers: 1 });
        return pool.pods();
      },
      { everyMs: 100 },
    );
    const leader = await release().leader();
    const footprint = {
      worker: await residentMiB(release(), namespace, worker),
      controller: await residentMiB(release(), SYSTEM, leader),
    };
    console.log(`resident, MiB: ${JSON.stringify(footprint)}`);
    expect(footprint.worker).toBeLessThanOrEqual(80);
    expect(footprint.controller).toBeLessThanOrEqual(128);

    const starts: number[] = [];
    for (let i = 0; i < PUSHES; i++) starts.push(await secondStart(release(), worker, `start-${i}`));
    console.log(`worker, from the start of its process to its registration, ms: ${starts.join(' ')}`);
  });
});

/** How many decisions about this pool came of hearing of a push, so far. */
async function pushesHeard({ cluster, namespace }: Release, { name }: Pool): Promise<number> {
  const path = `/api/v1/namespaces/${SYSTEM}/services/millrace:8080/proxy/metrics`;
  const page = await cluster.kubectl(['get', '--raw', path]);
  return metric(page, `millrace_wake_seconds_count{namespace="${namespace}",pool="${name}"}`) ?? 0;
}

interface Wake {
  readonly decision: number;
  readonly ready: number;
  readonly result: number;
  /** Of the worker, from the start of its process to its registration. */
  readonly start: number;
}

/** Resident memory of a container's largest process, MiB: the first one of a worker's is only the shell that reaps. */
async function residentMiB({ cluster }: Release, namespace: string, pod: string): Promise<number> {
  const read = ['sh', '-c', 'grep -h VmRSS /proc/[0-9]*/status'];
  const lines = await cluster.kubectl(['exec', pod, '--namespace', namespace, '--', ...read]);
  return Math.round(Math.max(...[...lines.matchAll(/\d+/g)].map(Number)) / 1024);
}

/** From the start of a worker's process to its registration, ms, as it says itself. */
function startTime(log: string): number {
  const lines = log.split('\n').filter((line) => line.startsWith('{'));
  const entries = lines.map((line): { msg: string; sinceStartMs?: number } => JSON.parse(line));
  const ready = entries.find(({ msg }) => msg === 'ready')?.sinceStartMs;
  if (ready === undefined) throw new Error(`no worker said that it is ready: ${log}`);
  return ready;
}

/** Of the pool's only pod. */
function logs({ cluster, namespace }: Release, { label }: Pool): Promise<string> {
  return cluster.kubectl(['logs', '--selector', label, '--tail=-1', '--namespace', namespace]);
}

/** Ends the program that it is given once a line says that the program is ready. */
const UNTIL_READY = `
  { "$@" 2>&1 & echo "pid $!"; wait; } | while read -r line; do
    case "$line" in
      "pid "*) pid=\${line#pid } ;;
      *'"event":"ready"'*) echo "$line"; kill "$pid" ;;
      *) echo "$line" ;;
    esac
  done`;

/** Starts another worker in a pod that has been up for a while, until it is ready, and says how long its start took, ms. */
async function secondStart({ cluster, namespace }: Release, pod: string, id: string): Promise<number> {
  const program = ['node', '/usr/local/lib/millrace/worker.js', '--module', '/app/squares.ts', '--id', id];
  const script = ['sh', '-c', UNTIL_READY, 'sh', ...program];
  return startTime(await cluster.kubectl(['exec', pod, '--namespace', namespace, '--', ...script]));
}

/** Pushes one task and says after how many ms each thing was seen here; then waits until the pool sleeps again. */
async function oneWake(
  pool: Pool,
  release: Release,
  i: number,
  replicas: Watch,
  ready: Watch,
): Promise<Wake> {
  const [replicasBefore, readyBefore] = [replicas.seen.length, ready.seen.length];
  const [task] = squares(1, 0, `wake${i}-`);
  if (!task) throw new Error('no task was made');
  // for as long as its log is wanted, the worker has another one
  const gate = pool.gate(`gate-${i}`);
  const pushed = performance.now();
  await pool.push([task, ...behind(gate, squares(1, 0, `more${i}-`))]);
  const result = await eventually(
    async () => {
      expect(await release.redis.hexists(pool.result, task.id)).toBe(1);
      return performance.now();
    },
    { everyMs: 2 },
  );
  // the API server may still think that the container is being created
  const start = await eventually(async () => startTime(await logs(release, pool)), {
    everyMs: 100,
  });
  await gate.open();
  await pool.asleep();
  const since = (at: number | undefined): number => Math.round((at ?? NaN) - pushed);
  return {
    decision: since(replicas.seen.slice(replicasBefore).find(({ value }) => value === '1')?.at),
    ready: since(ready.seen.slice(readyBefore).find(({ value }) => value === '1')?.at),
    result: since(result),
    start,
  };
}
