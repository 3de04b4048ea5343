/** Tasks of crons in a real Redis: pushed once per occurrence, whoever tries, and never silently lost. */
import { describe, expect, test } from 'vitest';
import { runCrons, type CronsDone, type CronsState } from '../../controller/act/crons.ts';
import { ConcurrencyPolicy, Missed, type CronSpec } from '../../kube/workerpool.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { at, cronScene, everyTenMinutes, task, type CronScene } from '../support/cron-scene.ts';

test('each occurrence is pushed once, with an id of its own; the status says what was and what comes', async () => {
  await using one = await cronScene();
  const { run } = one.lead();
  expect(await run('10:03:00')).toEqual({
    status: [{ name: 'report', nextTime: '2026-11-29T10:10:00Z' }],
    pushed: [],
    nextInMs: 420_000,
  });
  expect(await run('10:10:00')).toEqual({
    status: [
      {
        name: 'report',
        lastTime: '2026-11-29T10:10:00Z',
        lastTask: 'report:2026-11-29T10:10:00Z',
        nextTime: '2026-11-29T10:20:00Z',
      },
    ],
    pushed: ['report:2026-11-29T10:10:00Z'],
    nextInMs: 600_000,
  });
  for (const now of ['10:10:00', '10:19:59', '10:20:01', '10:25:00']) await run(now);
  expect(await one.queued()).toEqual([task('10:10'), task('10:20')]);
});

test('another controller goes on where the last one stopped, and one that comes back late pushes nothing twice', async () => {
  await using one = await cronScene();
  const [first, second] = [one.lead(), one.lead()];
  await first.run('10:00:00');
  await first.run('10:10:00');
  await second.run('10:10:30');
  await second.run('10:20:00');
  // it still believes that 10:20 is due
  expect(await first.run('10:20:30')).toMatchObject({ pushed: [], nextInMs: 1_000 });
  expect(await first.run('10:20:30')).toMatchObject({
    pushed: [],
    status: [{ lastTask: 'report:2026-11-29T10:20:00Z' }],
  });
  expect(await one.queued()).toEqual([task('10:10'), task('10:20')]);
});

test('clocks that differ push nothing twice; one that was far ahead does not silence crons when it is right again', async () => {
  await using one = await cronScene();
  const [ahead, right] = [one.lead(), one.lead()];
  await right.run('09:55:00');
  await ahead.run('10:00:30');
  expect(await right.run('09:59:50')).toMatchObject({ pushed: [] });
  expect(await right.run('10:00:00')).toMatchObject({ pushed: [] });
  await ahead.run('17:00:00');
  expect(await right.run('10:05:00')).toMatchObject({
    pushed: [],
    status: [{ lastTask: 'report:2026-11-29T17:00:00Z', nextTime: '2026-11-29T10:10:00Z' }],
  });
  expect(await right.run('10:10:00')).toMatchObject({ pushed: ['report:2026-11-29T10:10:00Z'] });
  expect(await one.queued()).toEqual([task('10:00'), task('17:00'), task('10:10')]);
});

test('ten that lead at the same moment push it once', async () => {
  await using one = await cronScene();
  const leaders = Array.from({ length: 10 }, one.lead);
  for (const { run } of leaders) await run('10:05:00');
  const done = await Promise.all(leaders.map(({ run }) => run('10:10:00')));
  expect(done.flatMap(({ pushed }) => pushed)).toEqual(['report:2026-11-29T10:10:00Z']);
  expect(await one.queued()).toEqual([task('10:10')]);
});

test.each([
  [Missed.Skip, []],
  [Missed.Last, ['10:30']],
  [Missed.All, ['10:10', '10:20', '10:30']],
] as const)('after half an hour without a controller: missed %s', async (missed, times) => {
  await using one = await cronScene();
  await one.lead().run('10:05:00', { missed });
  await one.lead().run('10:35:00', { missed });
  expect(await one.queued()).toEqual(times.map(task));
});

test('what is left out is counted, also by the next controller, until the schedule is another one', async () => {
  await using one = await cronScene();
  const first = one.lead();
  await first.run('10:05:00', { concurrencyPolicy: ConcurrencyPolicy.Forbid });
  await first.run('10:10:00', { concurrencyPolicy: ConcurrencyPolicy.Forbid });
  await first.run('10:20:00', { concurrencyPolicy: ConcurrencyPolicy.Forbid });
  const second = one.lead();
  expect(await second.run('10:55:00')).toMatchObject({
    pushed: ['report:2026-11-29T10:50:00Z'],
    status: [{ missed: 2, skipped: 1 }],
  });
  expect((await second.run('10:55:00', { schedule: '*/5 * * * *' })).status).toEqual([
    { name: 'report', nextTime: '2026-11-29T11:00:00Z' },
  ]);
});

describe('Forbid', () => {
  const forbid = { concurrencyPolicy: ConcurrencyPolicy.Forbid };

  test('of a task with an id of its own, the result of an earlier occurrence is not the end of this one', async () => {
    await using one = await cronScene();
    const { run } = one.lead();
    const own = { ...forbid, task: { id: 'own' } };
    await run('10:05:00', own);
    await run('10:10:00', own);
    await one.redis.hset(one.keys.result, 'own', 'x');
    await one.redis.zadd(one.keys.cancelled, 1, 'own');
    expect(await run('10:20:00', own)).toMatchObject({ pushed: ['own'] });
    expect(await one.redis.exists(one.keys.result, one.keys.cancelled)).toBe(0);
    expect(await run('10:30:00', own)).toMatchObject({ pushed: [], status: [{ skipped: 1 }] });
    await one.redis.hset(one.keys.errors, 'own', 'x');
    expect(await run('10:40:00', own)).toMatchObject({ pushed: ['own'] });
    expect(await one.redis.exists(one.keys.errors)).toBe(0);
  });

  test.each([
    [
      'has a result',
      async ({ redis, keys }: CronScene) => redis.hset(keys.result, 'report:2026-11-29T10:10:00Z', 'x'),
    ],
    [
      'has failed for good',
      async ({ redis, keys }: CronScene) => redis.hset(keys.errors, 'report:2026-11-29T10:10:00Z', 'x'),
    ],
  ])('leaves out an occurrence until the last task %s', async (_, end) => {
    await using one = await cronScene();
    const { run } = one.lead();
    await run('10:05:00', forbid);
    await run('10:10:00', forbid);
    expect(await run('10:20:00', forbid)).toMatchObject({ pushed: [], nextInMs: 600_000 });
    await end(one);
    expect(await run('10:25:00', forbid)).toMatchObject({ pushed: [] });
    await run('10:30:00', forbid);
    expect(await one.queued()).toEqual([task('10:10'), task('10:30')]);
  });

  test('a task of which nothing is known does not block for ever: a queue without tasks runs none', async () => {
    await using one = await cronScene();
    const { run } = one.lead();
    await run('10:05:00', forbid);
    await run('10:10:00', forbid);
    await one.redis.del(one.keys.queue);
    await run('10:20:00', { ...forbid, empty: true });
    expect(await one.queued()).toEqual([task('10:20')]);
  });
});

test('another schedule, and one that was suspended, begin anew: what was due before is not made up for', async () => {
  await using one = await cronScene();
  const { run } = one.lead();
  await run('10:05:00');
  await run('10:35:00', { schedule: '0 * * * *' });
  expect(await run('10:36:00', { schedule: '0 * * * *' })).toMatchObject({ pushed: [], nextInMs: 1_440_000 });
  expect(await run('11:05:00', { schedule: '0 * * * *', suspend: true })).toEqual({
    status: [{ name: 'report', suspended: true }],
    pushed: [],
    nextInMs: undefined,
  });
  await run('12:30:00', { schedule: '0 * * * *' });
  await run('12:31:00', { schedule: '0 * * * *' });
  expect(await one.queued()).toEqual([]);
  await run('13:00:00', { schedule: '0 * * * *' });
  expect(await one.queued()).toEqual([task('13:00')]);
});

test.each([
  ['this controller', true],
  ['another one', false],
])('one that was removed, as %s sees, begins anew when it is added again', async (_, same) => {
  await using one = await cronScene();
  const first = one.lead();
  await first.run('10:05:00');
  await (same ? first.remove([]) : one.lead().remove(['report']));
  expect(await one.redis.exists(one.keys.crons)).toBe(0);
  const { run } = one.lead();
  await run('12:35:00');
  await run('12:36:00');
  expect(await one.queued()).toEqual([]);
});

test('an id of the task is its own', async () => {
  await using one = await cronScene();
  const { run } = one.lead();
  await run('10:05:00', { task: { id: 7 } });
  expect(await run('10:10:00', { task: { id: 7 } })).toMatchObject({ pushed: ['7'] });
  expect(await one.queued()).toEqual(['{"id":7}']);
});

test.each([
  [{ schedule: '61 * * * *' }, 'crons[0].schedule is "61 * * * *"'],
  [{ schedule: '0 0 30 2 *' }, 'crons[0].schedule is "0 0 30 2 *", a date that never occurs'],
  [{ timeZone: 'Mars/Base' }, 'crons[0].timeZone is "Mars/Base", which is no time zone'],
  [{ task: { millrace: { expiresAt: 'soon' } } }, 'crons[0].task: expiresAt is a time in milliseconds'],
  [{ task: { millrace: { priority: 'high' } } }, 'which a task cannot say of itself'],
  [
    { task: { id: 7, batch: { id: 'b', size: 0 } } },
    'crons[0].task: the size of batch "b" is the number of its parts',
  ],
  [
    { task: { id: 'x'.repeat(1_025), millrace: { unique: 'k' } } },
    'crons[0].task: a unique task has an id of',
  ],
])('what cannot be: %j', async (change, message) => {
  await using one = await cronScene();
  await expect(one.lead().run('10:00:00', change)).rejects.toThrow(message);
});

test.each<[CronSpec['task'], string]>([
  [
    { millrace: { unique: 'k' } },
    'crons[0].task: it is unique ("k"), which a task cannot be in a queue in partitions',
  ],
  [
    { batch: { id: 'b', size: 2 } },
    'crons[0].task: it names the size of batch "b", and the queue is in partitions',
  ],
])('what cannot be in partitions, also where a queue is put into them: %j', async (refused, message) => {
  await using one = await cronScene();
  const state: CronsState = new Map();
  const redis = defineScripts(openBounded(one.server.address));
  using _closed = { [Symbol.dispose]: () => redis.disconnect() };
  const run = (partitioned: boolean): Promise<CronsDone> =>
    runCrons(
      {
        crons: [{ ...everyTenMinutes, task: refused }],
        redis,
        keys: one.keys,
        partitioned,
        now: at('10:00:00'),
        empty: false,
        formerly: [],
      },
      state,
    );
  await run(false);
  await expect(run(true)).rejects.toThrow(message);
  await run(false);
});
