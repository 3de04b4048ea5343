/**
 * A pool of the cluster tests from its user's side: applied with kubectl, fed and read by a plain Redis client. Its tasks are
 * those of test/fixtures/squares.ts unless a test says otherwise.
 */
import { expect } from 'vitest';
import { eventually, type Patience } from './eventually.ts';
import type { Release } from './kind-release.ts';
import type { Answer, Task } from './squares.ts';

export interface PoolObject {
  readonly metadata: { readonly finalizers?: string[]; readonly deletionTimestamp?: string };
  readonly spec: Record<string, unknown>;
  readonly status?: {
    readonly observedGeneration?: number;
    readonly desiredReplicas?: number;
    readonly replicas?: number;
    readonly inFlight?: number;
    readonly dead?: number;
    readonly lastDecision?: string;
    readonly conditions?: { type: string; status: string; reason: string; message: string }[];
  };
}

export type Pool = ReturnType<typeof poolOf>;

/** The handle of a pool in the release's namespace; nothing is created until `apply`. Queue and result are named after it. */
export function poolOf(release: Release, name: string) {
  const { cluster, namespace, redis, redisUrl } = release;
  const queue = `${name}:queue`;
  const result = `${name}:result`;
  const inNamespace = ['--namespace', namespace];
  const label = `millrace.dev/pool=${name}`;

  const pool = {
    name,
    queue,
    result,
    label,
    manifest: (spec: object): string =>
      JSON.stringify({
        apiVersion: 'millrace.dev/v1alpha1',
        kind: 'WorkerPool',
        metadata: { name, namespace },
        spec: { redis: { url: redisUrl }, queue, result, ...spec },
      }),
    apply: (spec: object): Promise<string> => cluster.applyYaml(pool.manifest(spec)),
    get: (): Promise<PoolObject> => release.get<PoolObject>('workerpool', name),
    /** The condition of that type, `Ready=False WorkersFailing: …`. */
    condition: async (type: string): Promise<string> => {
      const { status } = await pool.get();
      const found = status?.conditions?.find((condition) => condition.type === type);
      return found ? `${type}=${found.status} ${found.reason}: ${found.message}` : `no condition ${type}`;
    },
    /** Replicas that its Deployment is to have. */
    replicas: async (): Promise<number> =>
      (await release.get<{ spec: { replicas: number } }>('deployment', name)).spec.replicas,
    pods: async (): Promise<string[]> => {
      const names = ['--output', 'jsonpath={.items[*].metadata.name}'];
      const text = await cluster.kubectl(['get', 'pods', ...inNamespace, '--selector', label, ...names]);
      return text.split(' ').filter((pod) => pod !== '');
    },
    /** Reasons and notes of what happened to the pool, oldest first. */
    events: async (): Promise<string[]> => {
      const { items } = await release.get<{ items: { reason: string; message: string }[] }>(
        'events',
        '--sort-by',
        '.metadata.creationTimestamp',
        '--field-selector',
        `involvedObject.kind=WorkerPool,involvedObject.name=${name}`,
      );
      return items.map(({ reason, message }) => `${reason} ${message}`);
    },
    /** As any client would: one LPUSH. */
    push: async (tasks: readonly Task[]): Promise<void> => {
      await redis.lpush(queue, ...tasks.map((task) => JSON.stringify(task)));
    },
    /** What tasks of `behind` wait for, where Redis takes no password. */
    gate: (id = 'gate'): { readonly place: string; open(): Promise<unknown> } => ({
      place: `${new URL(redisUrl).host}/${name}:${id}`,
      open: () => redis.set(`${name}:${id}`, 'open'),
    }),
    /** The workers, which are named after their pods, that hold tasks: of Redis itself, as a status may be two seconds old. */
    holders: async (): Promise<string[]> => {
      const load = await redis.hgetall(`millrace:{${queue}}:load`);
      return Object.keys(load).filter((worker) => load[worker] !== '0');
    },
    /** Waits for the result of each task, as long as there are more and more, and holds them against what they must be. */
    answers: async (tasks: readonly Task[], patience: Patience = {}): Promise<Answer[]> => {
      let left = tasks.length;
      while (left > 0)
        left = await eventually(
          async () => {
            const [done, waiting] = [await redis.hlen(result), await redis.llen(queue)];
            const found = await redis.hmget(result, ...tasks.map(({ id }) => id));
            const missing = found.filter((answer) => answer === null).length;
            const text = `results missing (${done} there, ${waiting} tasks waiting)`;
            expect(missing, text).toBeLessThan(left);
            return missing;
          },
          { withinMs: 60_000, everyMs: 100, ...patience },
        );
      const texts = await redis.hmget(result, ...tasks.map(({ id }) => id));
      const answers = texts.map((text): Answer => JSON.parse(text ?? 'null'));
      expect(answers.map(({ square }) => square)).toEqual(tasks.map(({ n }) => n * n));
      return answers;
    },
    /** Waits until the Deployment is at 0 and its pods are gone. */
    asleep: (patience: Patience = {}): Promise<void> =>
      eventually(
        async () => {
          expect({ replicas: await pool.replicas(), pods: await pool.pods() }).toEqual({
            replicas: 0,
            pods: [],
          });
        },
        { withinMs: 60_000, everyMs: 250, ...patience },
      ),
    /** What workers have left in Redis: none may be registered, none may hold anything. */
    remains: async (): Promise<Record<string, unknown>> => {
      const base = `millrace:{${queue}}`;
      const keys = (await redis.keys(`${base}:*`)).map((key) => key.slice(base.length + 1));
      return {
        workers: await redis.zcard(`${base}:workers`),
        waiting: await redis.llen(queue),
        held: keys.filter((key) => /^(?:worker|inflight|carried|wake):/.test(key)),
        load: await redis.hvals(`${base}:load`),
      };
    },
  };
  return pool;
}

/** `remains` of a queue where everything is done and no worker is busy. */
export const nothingLeft = { workers: 0, waiting: 0, held: [], load: [] };
