/** What `millrace doctor` finds wrong with the workers of each library, provoked with real ones. */
import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { checkSource } from '../../cli/doctor/source.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { arqCase } from './arq.ts';
import { asynqCase } from './asynq.ts';
import { bullMqCases } from './bullmq.ts';
import { openScene } from './cases.ts';
import { celeryCases, openCelery } from './celery.ts';
import { dramatiqCase } from './dramatiq.ts';
import type { LibraryCase } from './library.ts';
import { rqCase } from './rq.ts';
import { saqCase } from './saq.ts';
import { sidekiqCase } from './sidekiq.ts';
import { streamCase } from './stream.ts';

/** What doctor warns of, each with a remedy. */
async function warnings(redis: Redis, spec: object): Promise<string[]> {
  const found = await checkSource(redis, spec, ['a queue']);
  const bad = found.filter(({ level }) => level !== 'ok');
  for (const { todo } of bad) expect(todo).toBeTruthy();
  return bad.map(({ note }) => note);
}

/** A case, the key where its tasks wait, and what makes another queue of it. */
type Row = readonly [LibraryCase, string, (redis: Redis) => Promise<unknown>];

const rows: readonly Row[] = [
  [rqCase, 'rq:queue:mail', () => Promise.resolve()],
  ...bullMqCases.map((one): Row => [
    one,
    'bull:mail:wait',
    (redis) => redis.copy('bull:mail:meta', 'bull:other:meta'),
  ]),
  [asynqCase, 'asynq:{mail}:pending', (redis) => redis.sadd('asynq:queues', 'other')],
  [saqCase, 'saq:mail:queued', () => Promise.resolve()],
  [sidekiqCase, 'queue:mail', () => Promise.resolve()],
  ...celeryCases.slice(0, 1).map((one): Row => [one, 'mail', () => Promise.resolve()]),
];

test.for(rows.map(([one, key, open]) => ({ name: one.name, one, key, open })))(
  '$name: a queue where tasks wait and that no worker takes from',
  async ({ one, key, open }) => {
    await using scene = await openScene(one);
    const { library, redis } = scene;
    await library.push(2);
    await redis.rename(key, key.replace('mail', 'other'));
    await open(redis);
    await library.work('pod-1');
    const [kind = '', settings] = Object.entries(one.settings)[0] ?? [];
    const of = (...queues: string[]): object => ({ [kind]: { ...settings, queues } });
    const note = 'no worker takes from the queue "other", where 2 tasks wait; the workers here take from';
    await eventually(async () =>
      expect(await warnings(redis, of('mail', 'other'))).toEqual([`${note} "mail"`]),
    );
    // none of these workers is the pool's; SAQ lists those of one queue only
    const alone = one === saqCase ? 'no worker of the library is here, and 2 tasks wait' : note;
    await eventually(async () => {
      expect(await warnings(redis, of('other'))).toContainEqual(expect.stringContaining(alone));
      expect(await warnings(redis, of('mail'))).toEqual([]);
    });
  },
);

test('arq: tasks wait, and no worker has noted its health', async () => {
  await using scene = await openScene(arqCase);
  const { library, redis } = scene;
  await library.push(2);
  expect(await warnings(redis, arqCase.settings)).toEqual([
    expect.stringMatching(
      /^no worker takes from the queue "arq:queue", where 2 tasks wait: none has noted its health/,
    ),
  ]);
  await library.work('pod-1');
  await eventually(async () => expect(await warnings(redis, arqCase.settings)).toEqual([]));
  await library.release(2);
});

/** Lets the time pass after which a library takes a task from its worker. */
type Abandoned = readonly [LibraryCase, (redis: Redis) => Promise<unknown>, RegExp];

const first = async (redis: Redis, key: string): Promise<string> =>
  (await redis.zrange(key, '0', '0'))[0] ?? '';

const abandoned: readonly Abandoned[] = [
  [
    rqCase,
    async (redis) => redis.zadd('rq:wip:mail', 1, await first(redis, 'rq:wip:mail')),
    /^1 task of "mail" ran out of time without an end: the worker was killed$/,
  ],
  ...bullMqCases.map((one): Abandoned => [
    one,
    (redis) => redis.del('bull:mail:1:lock'),
    /^1 task in hand of "mail" has no lock: the worker was killed, or blocks its event loop for longer than lockDuration/,
  ]),
  [
    asynqCase,
    async (redis) => redis.zadd('asynq:{mail}:lease', 1, await first(redis, 'asynq:{mail}:lease')),
    /^the lease of 1 task of "mail" has run out: the server was killed$/,
  ],
  [
    saqCase,
    async (redis) => redis.zadd('saq:mail:stats', 1, await first(redis, 'saq:mail:stats')),
    /^1 task in hand of "mail" is of a worker that reports nothing more$/,
  ],
  [
    sidekiqCase,
    async (redis) => {
      const [identity = ''] = await redis.smembers('processes');
      await redis.hset(identity, 'beat', Date.now() / 1e3 - 40);
      await redis.expire(identity, 20);
    },
    /^1 process has not beaten for 4\d s, such as pod-1:\d+:\w+: killed, short of CPU, or with a clock that is off$/,
  ],
  [
    dramatiqCase,
    async (redis) => {
      for (const id of await redis.zrange('dramatiq:__heartbeats__', '0', '-1'))
        await redis.zadd('dramatiq:__heartbeats__', 1, id);
    },
    /^1 task in hand of "mail" is of workers without a heartbeat for a minute: killed$/,
  ],
  [
    streamCase,
    async (redis) => {
      const [[id = ''] = []] = (await redis.xpending('jobs', 'workers', '-', '+', 1)) as string[][];
      await redis.xclaim('jobs', 'workers', 'pod-1', 0, id, 'IDLE', 3_600_000);
    },
    /^1 entry of "jobs" is pending for more than 5 min, the longest for 60 min \(\d+-0, given to pod-1.*\): its consumer is gone/,
  ],
];

test.for(abandoned.map(([one, age, note]) => ({ name: one.name, one, age, note })))(
  '$name: a task that its worker has given up',
  async ({ one, age, note }) => {
    await using scene = await openScene(one);
    const { library, redis, sees } = scene;
    const worker = await library.work('pod-1');
    await library.push(1);
    await sees({ waiting: 0, inFlight: 1 });
    expect(await warnings(redis, one.settings)).not.toContainEqual(expect.stringMatching(note));
    await worker.kill();
    await age(redis);
    expect(await warnings(redis, one.settings)).toContainEqual(expect.stringMatching(note));
  },
);

test('RQ: scheduled jobs are due, and no worker has a scheduler', async () => {
  await using scene = await openScene(rqCase);
  const { library, redis } = scene;
  await library.work('pod-1');
  await library.push(1, 10);
  await eventually(async () =>
    expect(await warnings(redis, rqCase.settings)).toEqual([
      '1 task scheduled in "mail" is due, and no worker there has a scheduler',
    ]),
  );
});

test('Celery: tasks that outlast the visibility timeout of the workers', async () => {
  await using server = await startRedis();
  await using celery = await openCelery(server, { acksLate: true, visibilityS: 1 });
  const redis = server.client();
  const { settings } = celeryCases[0] ?? {};
  await celery.work('pod-1');
  await celery.push(1, 3_600_000);
  await celery.send(1);
  const shown = 'the visibility timeout of celery@pod-1 is 1 s, and a';
  await eventually(async () => {
    const found = await warnings(redis, settings ?? {});
    for (const note of [
      'message is unacknowledged for \\d+ s: its task runs a second time',
      'task .* is due in 3\\d\\d\\d s',
    ])
      expect(found).toContainEqual(expect.stringMatching(`^${shown} ${note}`));
  });
});

test('a database that is empty: the others are named', async () => {
  await using scene = await openScene(rqCase);
  const { library, server } = scene;
  await library.push(1);
  const [note] = await warnings(server.client({ db: 5 }), rqCase.settings);
  expect(note).toMatch(
    /^there is no RQ queue "mail" here: .*; database 5 is empty, and there are keys in database 0 \(\d keys\)$/,
  );
});
