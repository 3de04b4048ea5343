/**
 * A queue in partitions behind real sentinels, while the replica takes over: library, workers and commands. What a replica has
 * confirmed is done, each result is that of its task, and nothing is left in any list. A command is executed or says why it is not.
 */
import { expect, test } from 'vitest';
import { NotReplicated } from '../../queue/connection/durability.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { millrace } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startSentinels, type Sentinels } from '../support/sentinel.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const PARTITIONS = 4;
const NAME = 'main';
const SETTINGS = ['--repl-diskless-sync-delay', '0'];

const resultOf = (id: string): string => `did ${id}`;

interface Scene {
  readonly first: RedisServer;
  readonly second: RedisServer;
  readonly sentinels: Sentinels;
}

const takeovers: readonly [how: string, happen: (scene: Scene) => Promise<void>][] = [
  ['SENTINEL FAILOVER', ({ sentinels }) => sentinels.failOver()],
  [
    'a primary that is killed, and comes back as a replica',
    async ({ first, second, sentinels }) => {
      await first.kill();
      await sentinels.agreeOn(second);
      await first.start();
    },
  ],
];

test.each(takeovers)('%s', async (_how, happen) => {
  await using first = await startRedis({ args: SETTINGS });
  const following = ['--replicaof', first.host, String(first.port)];
  await using second = await startRedis({ args: [...SETTINGS, ...following] });
  const replication = (server: RedisServer): Promise<string> => server.client().info('replication');
  await eventually(async () => expect(await replication(second)).toContain('master_link_status:up'));
  await using sentinels = await startSentinels(first, NAME, { downAfterMs: 5_000 });
  const redis = { sentinel: { name: NAME, nodes: sentinels.nodes } };
  const keys = freshKeys();
  const names = { queue: keys.queue, result: keys.result, partitions: PARTITIONS };
  const handler = (task: unknown): string => resultOf(String(task));
  const how = { handler, partitions: PARTITIONS, concurrency: 4, leaseMs: 3_000 };
  await using worker = startWorker({ address: redis }, keys, how);
  await worker.ready();
  await using queue = openQueue({ redis, ...names, durability: { replicas: 1, timeoutMs: 1_000 } });
  const env = {
    MILLRACE_REDIS_SENTINEL: sentinels.nodes.join(','),
    MILLRACE_REDIS_SENTINEL_NAME: NAME,
    MILLRACE_QUEUE: keys.queue,
    MILLRACE_RESULT: keys.result,
    MILLRACE_PARTITIONS: String(PARTITIONS),
  };

  const confirmed: string[] = [];
  let over = false;
  const pushing = (async () => {
    for (let i = 0; !over; i++) {
      const ids = Array.from({ length: 8 }, (_, n) => `t${i}-${n}`);
      try {
        await queue.enqueueMany(ids);
        confirmed.push(...ids);
      } catch (error) {
        if (!(error instanceof NotReplicated)) throw error;
      }
    }
  })();
  const commands = (async () => {
    for (let i = 0; !over; i++) {
      const ended = await Promise.all([
        millrace(['enqueue', `c${i}`], { env }),
        millrace(['inspect', '-o', 'json'], { env }),
        millrace(['cancel', 'nobody'], { env }),
      ]);
      for (const { code, stdout, stderr } of ended)
        if (code === 0) expect(stdout).not.toBe('');
        else
          expect({ code, stderr }).toEqual({
            code: 1,
            stderr: expect.stringMatching(/^millrace: [^\n]+\n$/),
          });
    }
  })();
  try {
    await eventually(() => expect(confirmed.length).toBeGreaterThan(80));
    await happen({ first, second, sentinels });
    await sentinels.agreeOn(second);
    await eventually(async () => expect(await replication(first)).toContain('master_link_status:up'));
    const before = confirmed.length;
    await eventually(() => expect(confirmed.length).toBeGreaterThan(before + 80));
  } finally {
    over = true;
    await Promise.all([pushing, commands]);
  }
  await eventually(async () =>
    expect(await queue.inspect()).toMatchObject({ waiting: 0, inFlight: 0, delayed: 0, dead: 0 }),
  );
  const primary = second.client();
  const hashes = partitionKeys(keys.queue, keys.result, PARTITIONS).map(({ result }) =>
    primary.hgetall(result),
  );
  const results = Object.assign({}, ...(await Promise.all(hashes))) as Record<string, string>;
  expect(confirmed.filter((id) => results[id] !== resultOf(id))).toEqual([]);
  expect(Object.entries(results).filter(([id, value]) => value !== resultOf(id))).toEqual([]);
  // commands work there, too
  const last = await millrace(['enqueue', 'the last', '--wait', '--timeout', '60s'], { env });
  expect(last).toMatchObject({ code: 0, stdout: resultOf('the last') });
});
