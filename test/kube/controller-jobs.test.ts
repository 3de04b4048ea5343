/**
 * Pools that run a Job for each task, with a real API server, Kubernetes' own Job controller and a real Redis. How pods end is
 * played, as there is no kubelet.
 */
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { initialJobsState, startJobs } from '../../controller/act/jobs/jobs.ts';
import { createJob } from '../../controller/act/jobs/task-jobs.ts';
import { createSampler } from '../../controller/sample/sampler.ts';
import { createKubeApi } from '../../kube/client.ts';
import { JOBS, POOLS } from '../../kube/resources.ts';
import type { Job } from '../../kube/wire.ts';
import { holdTask, readHeldTask } from '../../queue/outcomes/held-task.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { createJobPool } from '../support/job-pool.ts';
import { startJobController } from '../support/job-pods.ts';
import { startRedis } from '../support/redis.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, type Json } from '../support/world.ts';

const stage = useStage();
let controllers: AsyncDisposable | undefined;
beforeAll(async () => void (controllers = await startJobController(stage.world)));
afterAll(async () => await controllers?.[Symbol.asyncDispose]());

const LEASES = { everyMs: 50 };

const create = (spec: Json = {}): ReturnType<typeof createJobPool> => createJobPool(stage, spec);

const unfinished = (jobs: readonly Job[]): readonly Job[] =>
  jobs.filter(({ status }) => !status?.conditions?.some(({ type }) => ['Complete', 'Failed'].includes(type)));

describe.concurrent('a Job for each task', () => {
  test('as many at once as maxReplicas, each with its task, its result in the hash, one pod for a task', async () => {
    const { push, end, podOf, jobs, result, pool, started, cli } = await create({ maxReplicas: 2 });
    await push('{"id":"a","file":"$(HOME) $$x"}', 'plain text', 'third');
    const pod = await podOf('{"id":"a","file":"$(HOME) $$x"}');
    const env = Object.fromEntries(pod.spec?.containers[0]?.env?.map((one) => [one.name, one]) ?? []);
    expect(env['MILLRACE_TASK']?.valueFrom?.fieldRef?.fieldPath).toBe(
      "metadata.annotations['millrace.dev/task']",
    );
    expect(env['MILLRACE_ATTEMPT']?.value).toBe('1');
    expect(env['MILLRACE_RESULT_FILE']?.value).toBe('/dev/termination-log');
    expect(pod.metadata.annotations?.['millrace.dev/task-id']).toBe('a');
    await podOf('plain text');
    await eventually(async () =>
      expect((await pool()).status).toMatchObject({
        replicas: 2,
        desiredReplicas: 2,
        waiting: 1,
        inFlight: 2,
      }),
    );
    expect(await jobs()).toHaveLength(2);
    const shown = await cli('workers', 'videos');
    expect(shown.stdout).toMatch(/^job\/videos-\w{8} +busy +1 +1 /m);

    await end('{"id":"a","file":"$(HOME) $$x"}', { message: '{"frames": 7}' });
    await eventually(async () => expect(await result('a')).toBe('{"frames": 7}'));
    await podOf('third');
    expect(unfinished(await jobs())).toHaveLength(2);
    await end('plain text');
    await end('third', { message: 'done' });
    await eventually(async () => expect(await result('third')).toBe('done'));
    await eventually(async () => expect(await result('plain text')).toBe(''));
    // kept for an hour from now, as its outcome is recorded
    await eventually(async () =>
      expect((await jobs()).map(({ spec }) => spec?.ttlSecondsAfterFinished)).toEqual([3600, 3600, 3600]),
    );
    expect(started.size).toBe(3);
    await eventually(async () =>
      expect((await pool()).status).toMatchObject({
        replicas: 0,
        desiredReplicas: 0,
        waiting: 0,
        inFlight: 0,
      }),
    );
  });

  test('an attempt that fails is retried as everywhere, and ends as a dead letter with its last words', async () => {
    const { push, end, podOf, dead, jobs } = await create({
      retry: { attempts: 2, backoff: { initial: '1ms' } },
    });
    await push('{"id":"x"}');
    await end('{"id":"x"}', { exitCode: 1, reason: 'Error', message: 'no such file\n' });
    const second = await podOf('{"id":"x"}');
    expect(second.spec?.containers[0]?.env?.find(({ name }) => name === 'MILLRACE_ATTEMPT')?.value).toBe('2');
    await end('{"id":"x"}', { exitCode: 137, reason: 'OOMKilled', message: 'frame 12' });
    await eventually(async () => {
      const [letter] = await dead();
      expect(letter).toMatchObject({ id: 'x', attempts: 2 });
      expect(letter?.error).toMatch(
        /^failed 2 of 2 attempts: container "main" ended with OOMKilled, exit code 137: frame 12 \(Job videos-\w{8}\)$/,
      );
    });
    expect(await jobs()).toHaveLength(2);
  });

  test('the pod of a drained node is replaced, which is no attempt', async () => {
    const { push, end, podOf, result, jobs, started } = await create({ retry: { attempts: 1 } });
    await push('t');
    await end('t', { exitCode: 143, disrupted: true });
    const second = await podOf('t');
    expect(second.spec?.containers[0]?.env?.find(({ name }) => name === 'MILLRACE_ATTEMPT')?.value).toBe('1');
    await end('t', { message: 'there' });
    await eventually(async () => expect(await result('t')).toBe('there'));
    expect(await jobs()).toHaveLength(1);
    expect(started.size).toBe(2);
  });

  test('an exit code that is not worth another attempt, a deadline', async () => {
    const rules = [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [65] } }];
    const { push, end, dead } = await create({ job: { podFailurePolicy: { rules } } });
    await push('bad input');
    await end('bad input', { exitCode: 65, reason: 'Error', message: 'not a video' });
    await eventually(async () =>
      expect((await dead())[0]?.error).toMatch(
        /^not to be retried: container "main" ended with exit code 65: not a/,
      ),
    );
    const late = await create({ job: { activeDeadlineSeconds: 1 }, retry: { attempts: 1 } });
    await late.push('slow');
    await eventually(async () =>
      expect((await late.dead())[0]?.error).toMatch(
        /did not end within its deadline \(activeDeadlineSeconds: 1\)$/,
      ),
    );
  });

  test('cancel: a waiting task gets no Job, and that of a running one is deleted', async () => {
    const { push, podOf, jobs, cli, keys, started } = await create({ maxReplicas: 1 });
    await using queue = openQueue({ redis: stage.world.redis.url, queue: keys.queue, result: keys.result });
    await push('running', 'waiting');
    await podOf('running');
    await queue.cancel('waiting');
    const [job] = await jobs();
    expect(await cli('cancel', '--pool', 'videos', 'running')).toMatchObject({ code: 0 });
    await expect(queue.result('running', { timeoutMs: 60_000 })).rejects.toThrow('was cancelled');
    await expect(queue.result('waiting', { timeoutMs: 60_000 })).rejects.toThrow('was cancelled');
    await eventually(async () => expect(await jobs()).toEqual([]));
    expect(job?.metadata.annotations?.['millrace.dev/task-id']).toBe('running');
    expect(started.size).toBe(1);
  });

  test('cancel: what works on until it is stopped keeps its key and its slot, and nothing stays of it', async () => {
    // pods of a node stop by themselves, those of none are gone at once
    const template = { spec: { nodeName: 'far', containers: [{ name: 'main', image: 'ffmpeg:7' }] } };
    const limits = { perKey: { field: 'customer', concurrency: 1 } };
    const { push, podOf, end, jobs, pool, keys, started } = await create({ template, limits });
    await eventually(async () => expect((await pool()).status?.limits).toBeDefined());
    await using queue = openQueue({ redis: stage.world.redis.url, queue: keys.queue, result: keys.result });
    const [first, next] = [
      '{"id":"first","customer":1,"millrace":{"unique":"u"}}',
      '{"id":"next","customer":1}',
    ];
    await push(first);
    await podOf(first);
    await queue.cancel('first');
    await eventually(async () => expect((await jobs())[0]?.metadata.deletionTimestamp).toBeDefined());
    await push(next, '{"id":"twin","millrace":{"unique":"u"}}');
    await expect(queue.result('twin', { timeoutMs: 120_000 })).rejects.toMatchObject({ of: 'first' });
    expect(await stage.redis.zscore(keys.held, '1')).toBe('1');
    expect(started.size).toBe(1);

    await end(first, { exitCode: 0, message: 'half of it', stopping: true });
    await expect(queue.result('first', { timeoutMs: 120_000 })).rejects.toThrow('was cancelled');
    await end(next, { message: 'done' });
    expect(await queue.result('next', { timeoutMs: 120_000 })).toBe('done');
    // what clients read, the last answer of the one that is open, the limits, and what is kept of the pool
    const kept = /:(?:errors|expiry|stats|limits|limit-state|(?:answers|decisions|timeline|memory):.*)$/;
    await eventually(async () => {
      const left = await stage.redis.keys(`millrace:{${keys.queue}}:*`);
      expect(left.filter((key) => !kept.test(key))).toEqual([]);
    });
    expect(await stage.redis.hgetall(keys.result)).toEqual({ next: 'done' });
    expect(started.size).toBe(2);
  });

  test('nothing is started by a pool that is paused or only says what it would do', async () => {
    for (const mode of ['Paused', 'DryRun']) {
      const { push, pool, jobs, podOf, edit, end, result } = await create({ mode });
      await push('t');
      await eventually(async () => expect((await pool()).status).toMatchObject({ waiting: 1, inFlight: 0 }));
      expect(await jobs()).toEqual([]);
      await edit({ mode: 'Active' });
      await podOf('t');
      await edit({ mode });
      await end('t', { message: 'recorded' });
      await eventually(async () => expect(await result('t')).toBe('recorded'));
    }
  });

  test('a task that no environment takes becomes a dead letter that says so; one that is large enough fits', async () => {
    const { keys, dead, podOf, push } = await create();
    const large = 'x'.repeat(96 * 1024);
    await stage.redis.lpush(keys.queue, Buffer.from([0xff, 0x00]), `${large}x`, '{"id":"a\\u0000"}');
    await eventually(async () => {
      const errors = (await dead()).map(({ error }) => error);
      expect(errors).toHaveLength(3);
      expect(errors.join()).toMatch(/is no UTF-8 text/);
      expect(errors.join()).toMatch(/has more than 98304 bytes/);
      expect(errors.join()).toMatch(/a NUL character/);
    });
    await push(large, '{"id":"late","millrace":{"expiresAt":1000000000000}}');
    await podOf(large);
    await eventually(async () =>
      expect((await dead())[0]?.error).toMatch(/^it expired at 2001-09-09T01:46:40/),
    );
  });

  test('Jobs that the API server refuses: in words, and the task waits', async () => {
    const template = { spec: { containers: [{ name: 'main', image: 'x' }], nodeName: 'no such node' } };
    const { push, pool, keys } = await create({ template });
    await push('t');
    await eventually(async () =>
      expect(conditionText(await pool(), 'Ready')).toMatch(
        /^False WorkersFailing A Job cannot be created: .*nodeName/,
      ),
    );
    await eventually(async () => expect(await stage.redis.lrange(keys.queue, 0, -1)).toEqual(['t']));
  });

  test('a Job that a person deletes is created again; one of which Redis knows no task is deleted', async () => {
    const { push, podOf, jobs, keys, ref } = await create();
    await push('t');
    const { metadata } = await podOf('t');
    const [job] = await jobs();
    const name = job?.metadata.name ?? '';
    // as kubectl does
    const deletion = { uid: job?.metadata.uid ?? '', propagationPolicy: 'Background' } as const;
    await createKubeApi(stage.world.transport).jobs.delete({ namespace: ref.namespace, name }, deletion);
    await eventually(async () => expect((await podOf('t')).metadata.uid).not.toBe(metadata.uid));
    expect((await jobs()).map((one) => one.metadata.name)).toEqual([name]);
    // as a server that went back in time
    const worker = `job/${name}`;
    await stage.redis.del(keys.worker(worker), keys.inflight(worker));
    await stage.redis.zrem(keys.workers, worker);
    await stage.redis.hdel(keys.load, worker);
    await eventually(async () => expect(await jobs()).toEqual([]));
  });

  test('a pool that is moved to another Redis kills no Job, and records what ends when it is back', async () => {
    await using other = await startRedis();
    const far = other.client();
    const { push, podOf, jobs, edit, end, result, pool, keys } = await create();
    await push('t');
    const { metadata } = await podOf('t');
    await edit({ redis: { url: other.url } });
    await far.lpush(keys.queue, 'there');
    await podOf('there');
    expect((await podOf('t')).metadata.uid).toBe(metadata.uid);
    expect((await jobs()).map((one) => one.metadata.deletionTimestamp)).toEqual([undefined, undefined]);
    await end('there', { message: 'in the other one' });
    await end('t', { message: 'hours of work' });
    await eventually(async () =>
      expect(conditionText(await pool(), 'Ready')).toMatch(
        /Job videos-\w{8} has ended, and its task is in the Redis that the pool had when it began/,
      ),
    );
    await eventually(async () => expect(await far.hget(keys.result, 'there')).toBe('in the other one'));
    expect(await far.hget(keys.result, 't')).toBeNull();
    await edit({ redis: { url: stage.world.redis.url } });
    await eventually(async () => expect(await result('t')).toBe('hours of work'));
  });

  test('a queue with more than 1,000 workers: ends are recorded, and a deleted pool leaves no task', async () => {
    const { push, podOf, end, result, keys, ref, jobs } = await create();
    const [seconds] = await stage.redis.time();
    const before = Array.from({ length: 1_100 }, (_, at) => [(Number(seconds) + 3_600) * 1_000, `w${at}`]);
    await stage.redis.zadd(keys.workers, ...before.flat());
    await push('ends', 'goes on');
    await podOf('goes on');
    await end('ends', { message: 'there' });
    await eventually(async () => expect(await result('ends')).toBe('there'));
    expect(await jobs()).toHaveLength(2);
    await stage.world.objects.remove(POOLS, ref);
    await eventually(async () => expect(await stage.redis.lrange(keys.queue, 0, -1)).toEqual(['goes on']));
  });

  test('one task that cannot be settled stops no other one, is told of, and settled later', async () => {
    const { push, podOf, end, result, keys, pool } = await create();
    const [part, key] = ['{"id":"part","batch":{"id":"b","size":2}}', keys.batch('b')];
    await push(part);
    await podOf(part);
    await stage.redis.del(key);
    await stage.redis.set(key, 'no hash');
    await end(part, { message: 'of a batch' });
    await eventually(async () =>
      expect(conditionText(await pool(), 'Ready')).toMatch(
        /^False JobsFailing Job videos-\w{8} cannot be brought further: .*WRONGTYPE/,
      ),
    );
    await push('other');
    await end('other', { message: 'fine' });
    await eventually(async () => expect(await result('other')).toBe('fine'));
    await stage.redis.del(key);
    await eventually(async () => expect(await result('part')).toBe('of a batch'));
    await eventually(async () => expect(conditionText(await pool(), 'Ready')).toMatch(/^True/));
  });

  test("a Job that is not the pool's own is left alone", async () => {
    const { push, podOf, end, result, jobs, ref } = await create();
    await push('t');
    await podOf('t');
    const [job] = await jobs();
    const { name, labels = {}, annotations = {} } = job?.metadata ?? {};
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } };
    const copy = {
      metadata: { name: `${name}-debug`, labels, annotations },
      spec: { suspend: true, template },
    };
    await stage.world.objects.create(JOBS, ref.namespace, copy);
    await push('next');
    await end('next', { message: 'done' });
    await eventually(async () => expect(await result('next')).toBe('done'));
    expect((await jobs()).find((one) => one.metadata.name === `${name}-debug`)?.metadata).toMatchObject({
      labels,
    });
    expect((await jobs()).every((one) => one.metadata.deletionTimestamp === undefined)).toBe(true);
  });

  test('tasks that start no Job use up no room, and one that was taken before does not expire', async () => {
    const { keys, ref, pool: read, jobs } = await create({ mode: 'Paused' });
    const pool = await read();
    // the controller would follow what is begun here
    await stage.world.objects.remove(POOLS, ref);
    await eventually(async () => await expect(read()).rejects.toMatchObject({ notFound: true }));
    const address = { url: stage.world.redis.url };
    await using sampler = createSampler({
      address,
      onSample: () => undefined,
      log: pino({ level: 'silent' }),
    });
    const redis = sampler.redisOf(keys);
    await eventually(() => expect(redis.status).toBe('ready'));
    const late = '{"id":"late","millrace":{"expiresAt":1000000000000}}';
    await stage.redis.lpush(keys.queue, late, late, late, 'a', 'b');
    await stage.redis.lmove(keys.queue, keys.queue, 'RIGHT', 'LEFT');
    const link = { sampler, queues: [keys] };
    const input = {
      api: createKubeApi(stage.world.transport),
      pool,
      link,
      place: '',
      jobs: [],
      starts: true,
      random: Math.random,
      now: 0,
      signal: AbortSignal.timeout(60_000),
    };
    const started = await startJobs(input, 2, initialJobsState());
    expect(started).toMatchObject({ refused: undefined, more: false });
    expect(started.created).toHaveLength(2);

    await stage.redis.lpush(keys.queue, late);
    expect(await holdTask(redis, keys, 'job/videos-again', 60_000, { pool: `${ref.namespace}/videos` })).toBe(
      true,
    );
    const held = await readHeldTask(redis, keys, 'job/videos-again', 100_000);
    if (!held) throw new Error('nothing is held');
    const made = await createJob(input, 'videos-again', { redis, keys, held }, 'before');
    expect(made.kind).toBe('created');
    expect((await jobs()).map((one) => one.metadata.name)).toContain('videos-again');
  });

  test('the end of a pool ends its Jobs and puts their tasks back', async () => {
    const { push, podOf, jobs, keys, ref } = await create();
    await push('a', 'b');
    await podOf('a');
    await podOf('b');
    await stage.world.objects.remove(POOLS, ref);
    await eventually(async () =>
      expect((await stage.redis.lrange(keys.queue, 0, -1)).toSorted()).toEqual(['a', 'b']),
    );
    expect(await jobs()).toEqual([]);
    await eventually(
      async () => await expect(stage.world.objects.get(POOLS, ref)).rejects.toMatchObject({ notFound: true }),
    );
  });
});

test('what ends while no controller is there is recorded by the next one, and no task gets a second Job', async () => {
  const { push, podOf, end, jobs, result, started, keys } = await create({ maxReplicas: 3 });
  await push('ends', 'fails', 'goes on');
  for (const task of ['ends', 'fails', 'goes on']) await podOf(task);
  await stage.controller.kill();
  await end('ends', { message: 'at night' });
  await end('fails', { exitCode: 2, reason: 'Error' });
  await eventually(async () => expect(unfinished(await jobs())).toHaveLength(1), LEASES);
  await stage.startController();
  await eventually(async () => expect(await result('ends')).toBe('at night'));
  await end('fails', { message: 'second attempt' });
  await end('goes on', { message: 'still here' });
  await eventually(async () => expect(await result('fails')).toBe('second attempt'));
  await eventually(async () => expect(await result('goes on')).toBe('still here'));
  expect(started.size).toBe(4);
  await eventually(async () => expect(await stage.redis.zcard(keys.workers)).toBe(0));
});

test('what has ended while no controller was there is recorded before its pool is removed', async () => {
  const { push, podOf, end, jobs, result, ref, keys } = await create();
  await push('ends', 'goes on');
  for (const task of ['ends', 'goes on']) await podOf(task);
  await stage.controller.kill();
  await end('ends', { message: 'at night' });
  await eventually(async () => expect(unfinished(await jobs())).toHaveLength(1), LEASES);
  await stage.world.objects.remove(POOLS, ref);
  await stage.startController();
  await eventually(async () => expect(await stage.redis.lrange(keys.queue, 0, -1)).toEqual(['goes on']));
  expect(await result('ends')).toBe('at night');
});
