/** What only BullMQ does: a queue's rate limit, flows of parents and children, and several workers in one process. */
import { expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { adviseOnWorkers } from '../../queue/sources/checks/checks.ts';
import { readSource } from '../../queue/sources/read.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { sample } from '../support/sampling.ts';
import { bullMqVersions, type BullMq } from './bullmq.ts';

const settings = { bullmq: { queues: ['mail'], prefix: 'bull' } };
const source = sourceOf(settings);

type Queue = InstanceType<BullMq['Queue']>;
type Worker = InstanceType<BullMq['Worker']>;

/** What is opened here is closed with it, queues last. */
function open(bullmq: BullMq, server: RedisServer) {
  const connection = { host: server.host, port: server.port, maxRetriesPerRequest: null };
  const workers: Worker[] = [];
  const others: { close(): Promise<void> }[] = [];
  return {
    queue: (name = 'mail'): Queue => {
      const queue = new bullmq.Queue(name, { connection });
      others.push(queue);
      return queue;
    },
    flow: (): InstanceType<BullMq['FlowProducer']> => {
      const flow = new bullmq.FlowProducer({ connection });
      others.push(flow);
      return flow;
    },
    work: async (options: object, run: () => Promise<void>, name = 'mail'): Promise<Worker> => {
      const worker = new bullmq.Worker(name, run, { connection, ...options });
      workers.push(worker);
      worker.on('error', () => undefined);
      await worker.waitUntilReady();
      return worker;
    },
    [Symbol.asyncDispose]: async () => {
      for (const worker of workers) await worker.close();
      for (const other of others) await other.close();
    },
  };
}

const done = (): Promise<void> => Promise.resolve();

test.concurrent.for(bullMqVersions)(
  '%s: what waits for a rate limit asks for no replicas, and wakes the pool when it may start',
  async ([, bullmq]) => {
    await using server = await startRedis();
    await using opened = open(bullmq, server);
    const redis = server.client();
    const queue = opened.queue();
    const sees = (parts: object): Promise<void> =>
      eventually(async () => expect((await readSource(redis, source, 0)).sample).toMatchObject(parts));
    await queue.setGlobalRateLimit(2, 3_600_000);
    for (let i = 0; i < 5; i++) await queue.add('send', {});
    await sees({ waiting: 5, blocked: 3, runnable: { waiting: 2 } });
    const worker = await opened.work({ name: 'pod-1', concurrency: 4 }, done);
    await sees({ waiting: 3, inFlight: 0, blocked: 3, runnable: { waiting: 0 } });
    await worker.close();
    await using sampling = sample(server.address, { safetyMs: 3_600_000 });
    const { sampler } = sampling;
    sampler.add('p', [queueKeys('records', 'result')], source);
    sampler.setActive('p', false, 0);
    await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
    await eventually(() => expect(sampler.latest('p')).toMatchObject({ sample: { blocked: 3 } }));
    // the hour is over
    await redis.pexpire('bull:mail:limiter', 1);
    await eventually(() =>
      expect(sampler.latest('p')).toMatchObject({ sample: { waiting: 3, runnable: { waiting: 2 } } }),
    );
    await queue.rateLimit(3_600_000);
    await sees({ waiting: 3, blocked: 3 });
  },
);

test('the rate limit of a worker is in no key, and is named', async () => {
  const [[, six] = []] = bullMqVersions;
  if (!six) throw new Error('no version of BullMQ is here');
  await using server = await startRedis();
  await using opened = open(six, server);
  const redis = server.client();
  const queue = opened.queue();
  for (let i = 0; i < 3; i++) await queue.add('send', {});
  await opened.work({ name: 'pod-1', limiter: { max: 1, duration: 3_600_000 } }, done);
  await eventually(async () =>
    expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 2, inFlight: 0 }),
  );
  const notes = (await adviseOnWorkers(settings, createAsk(redis), redis)).map(({ note }) => note);
  expect(notes).toEqual([
    '2 tasks of "mail" may wait for the rate limit of its workers (limiter), which no key shows',
  ]);
});

test.concurrent.for(bullMqVersions)(
  '%s: a parent counts when its children are done or have failed it, and not before',
  async ([, bullmq]) => {
    await using server = await startRedis();
    await using opened = open(bullmq, server);
    const redis = server.client();
    const flow = opened.flow();
    const child = (opts: object): object => ({ name: 'child', queueName: 'parts', opts });
    const kids = sourceOf({ bullmq: { queues: ['parts'], prefix: 'bull' } });
    const sees = (one: typeof source, parts: object): Promise<void> =>
      eventually(async () => expect((await readSource(redis, one, 0)).sample).toMatchObject(parts));
    const parent = { name: 'parent', queueName: 'mail' };
    await flow.add({ ...parent, children: [child({ failParentOnFailure: true }), child({})] });
    await flow.add({ ...parent, children: [child({ ignoreDependencyOnFailure: true })] });
    // a child of this one that has failed leaves its parent waiting for ever
    await flow.add({ ...parent, children: [child({})] });
    await sees(kids, { waiting: 4 });
    await sees(source, { waiting: 0, inFlight: 0, delayed: 0 });
    await opened.work({ name: 'pod-1' }, () => Promise.reject(new Error('as it was told')), 'parts');
    await sees(kids, { waiting: 0, inFlight: 0, dead: 4 });
    await sees(source, { waiting: 2, inFlight: 0, delayed: 0 });
    await opened.work({ name: 'pod-2' }, done);
    // the first one has failed with its child
    await sees(source, { waiting: 0, inFlight: 0, dead: 1 });
    expect(await redis.zcard('bull:mail:waiting-children')).toBe(1);
  },
);

test('several workers in one process hold together what bears their name', async () => {
  const [[, six] = []] = bullMqVersions;
  if (!six) throw new Error('no version of BullMQ is here');
  await using server = await startRedis();
  await using opened = open(six, server);
  const redis = server.client();
  const gate = server.client({ db: 1 });
  const queue = opened.queue();
  const held = async (): Promise<void> => void (await server.client({ db: 1 }).blpop('gate', 0));
  await opened.work({ name: 'pod-1' }, held);
  await opened.work({ name: 'pod-1', concurrency: 2 }, held);
  await opened.work({ name: 'pod-2' }, held, 'other');
  for (let i = 0; i < 4; i++) await queue.add('send', {});
  await eventually(async () =>
    expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 1, inFlight: 3 }),
  );
  if (source.holding.by !== 'worker') throw new Error('BullMQ knows its workers');
  const { workers, unnamed } = await source.holding.readWorkers(createAsk(redis), redis);
  expect(workers).toMatchObject([{ id: 'pod-1', tasks: 3 }]);
  expect(unnamed).toBe(0);
  for (let i = 0; i < 4; i++) await gate.rpush('gate', '1');
});
