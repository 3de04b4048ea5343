/** Tasks of crons in a real Redis: pushed once per occurrence, whoever tries, and never silently lost. */
import { describe, expect, test } from 'vitest';
import { cronQueueOf, runCrons, type CronsDone, type CronsState } from '../../controller/act/crons.ts';
import { ConcurrencyPolicy, Missed, type CronSpec } from '../../kube/workerpool.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { moveQueues } from '../../queue/move/move.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';

const base: CronSpec = {
  name: 'report',
  schedule: '*/10 * * * *',
  timeZone: 'UTC',
  task: { kind: 'report' },
  missed: Missed.Last,
  concurrencyPolicy: ConcurrencyPolicy.Allow,
  suspend: false,
};
const at = (text: string): number => Date.parse(`2026-11-29T${text}Z`);

interface Leader {
  readonly run: (now: string, more?: Partial<CronSpec> & { readonly empty?: boolean }) => Promise<CronsDone>;
  readonly remove: (formerly: readonly string[]) => Promise<CronsDone>;
  /** Resolves when it is connected. */
  readonly connected: () => Promise<unknown>;
}

/** A controller that leads, with a connection as it has and a memory of its own. */
function leader(server: RedisServer, keys: QueueKeys, stack: AsyncDisposableStack): Leader {
  const redis = defineScripts(openBounded(server.address));
  stack.defer(() => redis.disconnect());
  const state: CronsState = new Map();
  const partitioned = false;
  return {
    run: (now, { empty = false, ...more } = {}) =>
      runCrons(
        { crons: [{ ...base, ...more }], redis, keys, partitioned, now: at(now), empty, formerly: [] },
        state,
      ),
    remove: (formerly) =>
      runCrons({ crons: [], redis, keys, partitioned, now: at('12:00:00'), empty: false, formerly }, state),
    connected: () => redis.ping(),
  };
}

async function scene() {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const keys = queueKeys('q', 'r');
  const redis = server.client();
  return {
    server,
    keys,
    redis,
    lead: () => leader(server, keys, stack),
    /** Tasks in the queue, the oldest first. */
    queued: async () => (await redis.lrange(keys.queue, 0, -1)).toReversed(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const task = (time: string): string => `{"kind":"report","id":"report:2026-11-29T${time}:00Z"}`;

test('each occurrence is pushed once, with an id of its own; the status says what was and what comes', async () => {
  await using one = await scene();
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
  await using one = await scene();
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
  await using one = await scene();
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
  await using one = await scene();
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
  await using one = await scene();
  await one.lead().run('10:05:00', { missed });
  await one.lead().run('10:35:00', { missed });
  expect(await one.queued()).toEqual(times.map(task));
});

test('what is left out is counted, also by the next controller, until the schedule is another one', async () => {
  await using one = await scene();
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
    await using one = await scene();
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
      async ({ redis, keys }: Awaited<ReturnType<typeof scene>>) =>
        redis.hset(keys.result, 'report:2026-11-29T10:10:00Z', 'x'),
    ],
    [
      'has failed for good',
      async ({ redis, keys }: Awaited<ReturnType<typeof scene>>) =>
        redis.hset(keys.errors, 'report:2026-11-29T10:10:00Z', 'x'),
    ],
  ])('leaves out an occurrence until the last task %s', async (_, end) => {
    await using one = await scene();
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
    await using one = await scene();
    const { run } = one.lead();
    await run('10:05:00', forbid);
    await run('10:10:00', forbid);
    await one.redis.del(one.keys.queue);
    await run('10:20:00', { ...forbid, empty: true });
    expect(await one.queued()).toEqual([task('10:20')]);
  });
});

test('another schedule, and one that was suspended, begin anew: what was due before is not made up for', async () => {
  await using one = await scene();
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
  await using one = await scene();
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
  await using one = await scene();
  const { run } = one.lead();
  await run('10:05:00', { task: { id: 7 } });
  expect(await run('10:10:00', { task: { id: 7 } })).toMatchObject({ pushed: ['7'] });
  expect(await one.queued()).toEqual(['{"id":7}']);
});

describe('a queue that is moved', () => {
  /** `between`: what the controller of the new place does before the move ends. */
  async function moved(
    between: (there: Leader) => Promise<unknown>,
    to: readonly [QueueKeys, ...QueueKeys[]] = [queueKeys('q', 'r')],
  ) {
    const stack = new AsyncDisposableStack();
    const old = stack.use(await scene());
    const place = stack.use(await startRedis());
    const there = leader(place, to[0], stack);
    const { run } = old.lead();
    await run('10:05:00');
    await run('10:10:00');
    await between(there);
    await moveQueues({
      from: old.server.address,
      to: place.address,
      plans: [{ from: old.keys, to }],
      merge: true,
    });
    return {
      old,
      place: place.client(),
      there,
      queued: async () => (await place.client().lrange(to[0].queue, 0, -1)).toReversed(),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  }

  test('the new place goes on where the old one stopped: nothing is lost, nothing pushed twice', async () => {
    await using one = await moved(() => Promise.resolve());
    expect(await one.old.redis.exists(one.old.keys.crons)).toBe(0);
    await one.there.run('10:10:30');
    // nobody was there at 10:20
    await one.there.run('10:25:00');
    expect(await one.queued()).toEqual([task('10:10'), task('10:20')]);
  });

  test('also where it has begun already, and without those of before', async () => {
    await using one = await moved(({ run }) => run('10:21:00'));
    // it has a state in its memory that was replaced, and reads it again
    expect(await one.there.run('10:30:00')).toMatchObject({ pushed: [], nextInMs: 1_000 });
    await one.there.run('10:30:01');
    expect(await one.queued()).toEqual([task('10:10'), task('10:30')]);
    expect((await one.there.run('10:31:00')).status).toMatchObject([
      { lastTask: 'report:2026-11-29T10:30:00Z' },
    ]);
  });

  test('one of which the new place has pushed a task is its own', async () => {
    await using one = await moved(async ({ run }) => {
      await run('10:15:00');
      await run('10:20:00');
    });
    await one.there.run('10:25:00');
    expect((await one.queued()).toSorted()).toEqual([task('10:10'), task('10:20')]);
    expect(await one.old.redis.exists(one.old.keys.crons)).toBe(0);
  });

  test('in partitions it is beside the one with the number 0; what is none of ours stays', async () => {
    const lists = partitionKeys('q', 'r', 2) as [QueueKeys, ...QueueKeys[]];
    await using one = await moved(() => Promise.resolve(), lists);
    expect(cronQueueOf(lists, true)).toBe(lists[0]);
    expect(await one.place.hkeys(lists[0].crons)).toEqual(['report']);
    expect(await one.place.exists(lists[1]?.crons ?? '')).toBe(0);
  });
});

describe('a Redis that somebody else writes', () => {
  test.each([
    '',
    'x',
    '{}',
    '{"of":1,"until":"now"}',
    '[]',
    'x'.repeat(1 << 20),
    Buffer.from([0xff, 0xfe]),
    Buffer.from([...Buffer.from('{"of":"UTC */10 * * * *","until":1},"last":"'), 0xff]),
    // cut within a character
    `x${'é'.repeat(4_096)}`,
  ])('a state that is none begins anew: %.20s', async (text) => {
    await using one = await scene();
    await one.redis.hset(one.keys.crons, 'report', text);
    const { run } = one.lead();
    await run('10:05:00');
    await run('10:10:00');
    expect(await one.queued()).toEqual([task('10:10')]);
  });

  test.each([-1, 9e15, 253_402_300_800_000])(
    'a last task at %d, which is no time, counts as none',
    async (when) => {
      await using one = await scene();
      const last = { at: when, id: 'x' };
      const state = { of: 'UTC */10 * * * *', until: at('10:05:00'), last };
      await one.redis.hset(one.keys.crons, 'report', JSON.stringify(state));
      const { run } = one.lead();
      expect(await run('10:06:00')).toMatchObject({
        status: [{ name: 'report', nextTime: '2026-11-29T10:10:00Z' }],
      });
      expect((await run('10:06:00')).status[0]?.lastTime).toBeUndefined();
      await run('10:10:00');
      expect(await one.queued()).toEqual([task('10:10')]);
    },
  );

  test('one that is removed is forgotten, whatever bytes its state has', async () => {
    await using one = await scene();
    await one.redis.hset(one.keys.crons, 'report', Buffer.from([0xff]));
    await one.lead().remove(['report']);
    expect(await one.redis.exists(one.keys.crons)).toBe(0);
  });

  test('a queue of another type: an error, and the occurrence is pushed when it is mended', async () => {
    await using one = await scene();
    const { run } = one.lead();
    await run('10:05:00');
    await one.redis.set(one.keys.queue, 'text');
    await expect(run('10:10:00')).rejects.toThrow('WRONGTYPE');
    await one.redis.del(one.keys.queue);
    expect(await run('10:10:20')).toMatchObject({ pushed: ['report:2026-11-29T10:10:00Z'] });
    expect(await one.queued()).toEqual([task('10:10')]);
  });

  test('a server that went back pushes again what it has forgotten, and no more', async () => {
    await using one = await scene();
    const { run } = one.lead();
    await run('10:05:00');
    const before = await one.redis.hget(one.keys.crons, 'report');
    await run('10:10:00');
    await one.redis.hset(one.keys.crons, 'report', before ?? '');
    await one.redis.del(one.keys.queue);
    await run('10:11:00');
    await run('10:20:00');
    await run('10:20:00');
    expect(await one.queued()).toEqual([task('10:20')]);
  });
});

describe('a server that is restarted from an older snapshot', () => {
  /** As the controller: it reconciles when its connection is back. */
  async function rewound(change: (one: Awaited<ReturnType<typeof scene>>, lead: Leader) => Promise<void>) {
    const one = await scene();
    const lead = one.lead();
    await lead.run('10:05:00');
    await one.redis.save();
    await change(one, lead);
    await one.server.restart();
    await lead.connected();
    return { ...one, run: lead.run };
  }

  test('what it has forgotten is pushed again as soon as it is back, not with the next occurrence', async () => {
    await using one = await rewound(async ({ queued }, { run }) => {
      await run('10:10:00');
      expect(await queued()).toEqual([task('10:10')]);
    });
    expect(await one.queued()).toEqual([]);
    expect(await one.run('10:10:30')).toMatchObject({
      pushed: ['report:2026-11-29T10:10:00Z'],
      status: [{ lastTime: '2026-11-29T10:10:00Z' }],
    });
    for (const now of ['10:10:31', '10:20:00']) await one.run(now);
    expect(await one.queued()).toEqual([task('10:10'), task('10:20')]);
  });

  test('one that was suspended since misses nothing when it goes on', async () => {
    await using one = await rewound(async (_, { run }) => void (await run('10:06:00', { suspend: true })));
    await one.run('10:11:00', { suspend: true });
    for (const now of ['11:11:00', '11:11:02']) await one.run(now);
    expect(await one.queued()).toEqual([]);
    await one.run('11:20:00');
    expect(await one.queued()).toEqual([task('11:20')]);
  });
});

test('a push whose reply was lost with the connection is made once', async () => {
  await using one = await scene();
  await using proxy = await startTcpProxy(one.server.port);
  const client = defineScripts(openBounded({ url: `redis://127.0.0.1:${proxy.port}` }));
  try {
    const state: CronsState = new Map();
    const run = (now: string): Promise<CronsDone> =>
      runCrons(
        {
          crons: [base],
          redis: client,
          keys: one.keys,
          partitioned: false,
          now: at(now),
          empty: false,
          formerly: [],
        },
        state,
      );
    await run('10:05:00');
    proxy.stall('replies');
    const done = run('10:10:00');
    await eventually(async () => expect(await one.queued()).toEqual([task('10:10')]));
    proxy.cut();
    proxy.resume();
    // who has pushed it is not known, so it looks again
    expect(await done).toMatchObject({ pushed: [], nextInMs: 1_000 });
    expect(await run('10:10:01')).toMatchObject({
      pushed: [],
      status: [{ lastTask: 'report:2026-11-29T10:10:00Z' }],
    });
    expect(await one.queued()).toEqual([task('10:10')]);
  } finally {
    client.disconnect();
  }
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
  await using one = await scene();
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
  await using one = await scene();
  const state: CronsState = new Map();
  const redis = defineScripts(openBounded(one.server.address));
  using _closed = { [Symbol.dispose]: () => redis.disconnect() };
  const run = (partitioned: boolean): Promise<CronsDone> =>
    runCrons(
      {
        crons: [{ ...base, task: refused }],
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
