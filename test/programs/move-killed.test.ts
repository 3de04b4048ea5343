/** A queue is moved while clients push and workers run in both places, and the process that moves it is killed again and again. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { moveQueues, type MovePlan } from '../../queue/move/move.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { createRandom } from '../chaos/random.ts';
import type { Doom } from '../fixtures/mover.ts';
import { startCluster } from '../support/cluster.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startWorker } from '../support/workers.ts';

const SEED = 20_261_128;
const LIVES = 4;

/** Runs the mover until it dies, or is done. */
async function runMover(doom: Doom): Promise<'killed' | 'done'> {
  const fixture = join(import.meta.dirname, '../fixtures/mover.ts');
  const child = spawn(process.execPath, [fixture, JSON.stringify(doom)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (signal === 'SIGKILL') return 'killed';
  expect(code).toBe(0);
  return 'done';
}

interface Places {
  readonly from: Pick<RedisServer, 'address'>;
  readonly to: Pick<RedisServer, 'address'>;
  readonly plan: MovePlan;
  readonly push: (id: string) => Promise<unknown>;
  readonly results: (keys: QueueKeys) => Promise<Record<string, string>>;
}

async function moveWhileDying({ from, to, plan, push, results }: Places): Promise<void> {
  const runs = new Map<string, number>();
  const handler = (task: unknown): string => {
    const id = String(task);
    runs.set(id, (runs.get(id) ?? 0) + 1);
    return `of ${id}`;
  };
  await using workers = new AsyncDisposableStack();
  workers.use(startWorker(from, plan.from, { handler }));
  for (const keys of plan.to) workers.use(startWorker(to, keys, { handler }));
  const pushed: string[] = [];
  let pushing = true;
  const client = async (name: number): Promise<void> => {
    for (let i = 0; pushing; i++) {
      const ids = Array.from({ length: 5 }, (_, n) => `${name}-${i}-${n}`);
      await Promise.all(ids.map(push));
      pushed.push(...ids);
      await delay(20);
    }
  };
  const clients = Promise.all([1, 2, 3].map(client));
  clients.catch(() => undefined);
  const random = createRandom(SEED, 'move');
  const options = { from: from.address, to: to.address, leaseMs: 200, followMs: 60_000 };
  const namesOf = ({ queue, result }: QueueKeys): [string, string] => [queue, result];
  const [first, ...rest] = plan.to;
  const names: Doom['names'] = { from: namesOf(plan.from), to: [namesOf(first), ...rest.map(namesOf)] };
  let killed = 0;
  for (let life = 0; life < LIVES; life++) {
    const dieAfter = random.int(5, 80);
    const lingerMs = random.chance(0.3) ? 0 : random.int(1, 3);
    if ((await runMover({ options, names, dieAfter, lingerMs })) === 'killed') killed++;
  }
  expect(killed).toBe(LIVES);
  pushing = false;
  await clients;
  const { resumed } = await moveQueues({ ...options, plans: [plan], followMs: undefined });
  expect(resumed).toBe(true);
  const expected = Object.fromEntries(pushed.map((id) => [id, `of ${id}`]));
  await expect
    .poll(async () => Object.assign({}, ...(await Promise.all(plan.to.map(results)))) as object)
    .toEqual(expected);
  expect([...runs].filter(([, times]) => times !== 1)).toEqual([]);
  expect(runs.size).toBe(pushed.length);
}

const one = queueKeys('tiles', 'result');

test('from one server to another, each task runs once', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const [old, now] = [from.client(), to.client()];
  await moveWhileDying({
    from,
    to,
    plan: { from: one, to: [one] },
    push: (id) => old.lpush(one.queue, id),
    results: ({ result }) => now.hgetall(result),
  });
  expect(await old.exists(one.queue, one.result, one.move, one.moving)).toBe(0);
});

test('from one server to partitions in a cluster, each task runs once', async () => {
  await using from = await startRedis();
  await using cluster = await startCluster();
  const old = from.client();
  const to = partitionKeys('tiles', 'result', 3) as [QueueKeys, ...QueueKeys[]];
  await moveWhileDying({
    from,
    to: cluster,
    plan: { from: one, to },
    push: (id) => old.lpush(one.queue, id),
    results: async ({ result }) => await (await cluster.clientOf(result)).hgetall(result),
  });
  expect(await old.exists(one.queue, one.result, one.move, one.moving)).toBe(0);
});
