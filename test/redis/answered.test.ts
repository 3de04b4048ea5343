/** A Redis that hangs, or goes away with what it was asked, holds up no reconcile: what it was asked is asked again. */
import { expect, test } from 'vitest';
import { runCrons } from '../../controller/act/crons.ts';
import { followJobs, initialJobsState, startJobs, type JobsInput } from '../../controller/act/jobs/jobs.ts';
import type { KubeApi } from '../../kube/api.ts';
import { ConcurrencyPolicy, Missed, type WorkerPool } from '../../kube/workerpool.ts';
import { RedisTimeout } from '../../queue/connection/connection.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { queueKeys } from '../../queue/keys.ts';
import { holdTask } from '../../queue/outcomes/held-task.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { startRedis } from '../support/redis.ts';

async function scene() {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const client = server.client();
  const redis = defineScripts(openBounded(server.address));
  stack.defer(() => redis.disconnect());
  await redis.ping();
  return {
    server,
    client,
    redis,
    keys: queueKeys('q', 'r'),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test.concurrent('cron tasks', async () => {
  await using one = await scene();
  const { server, client, redis, keys } = one;
  const policies = { missed: Missed.Last, concurrencyPolicy: ConcurrencyPolicy.Forbid, suspend: false };
  const crons = [{ name: 'c', schedule: '* * * * *', timeZone: 'UTC', task: { kind: 'c' }, ...policies }];
  const state = new Map();
  const run = (minute: number) =>
    runCrons(
      { crons, redis, keys, partitioned: false, now: minute * 60_000, empty: false, formerly: [] },
      state,
    );
  await run(1);
  server.stop();
  await expect(run(2)).rejects.toThrow(RedisTimeout);
  server.cont();
  // what timed out was done, or is done now
  await run(2);
  await run(2);
  expect(await client.llen(keys.queue)).toBe(1);
});

test.concurrent('Jobs', async () => {
  await using one = await scene();
  const { server, client, redis, keys } = one;
  const metadata = { namespace: 'n', name: 'p', uid: 'u' };
  const spec = { retry: { maxDeliveries: 5 }, results: { ttl: '0s' }, deadLetters: { max: 1, maxAge: '0s' } };
  const link = { queues: [keys], sampler: { redisOf: () => redis } } as unknown as JobsInput['link'];
  const input: JobsInput = {
    api: {} as KubeApi,
    pool: { metadata, spec } as unknown as WorkerPool,
    link,
    place: '',
    random: Math.random,
    signal: new AbortController().signal,
    jobs: [],
    starts: false,
    now: 0,
  };
  await client.lpush(keys.queue, 'held', 'waits');
  await holdTask(client, keys, 'job/p-1', 3_600_000, { pool: 'n/p' });
  server.stop();
  const steps = [followJobs(input, initialJobsState()), startJobs(input, 1, initialJobsState())];
  for (const ended of await Promise.allSettled(steps))
    expect(ended).toMatchObject({ status: 'rejected', reason: { name: 'RedisTimeout' } });
  server.cont();
});
