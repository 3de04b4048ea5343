/** Crons of a queue that is moved, of a Redis that somebody else writes or that goes back, and over a connection that breaks. */
import { describe, expect, test } from 'vitest';
import { cronQueueOf, runCrons, type CronsDone, type CronsState } from '../../controller/act/crons.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { moveQueues } from '../../queue/move/move.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import {
  at,
  cronLeader,
  cronScene,
  everyTenMinutes,
  task,
  type CronLeader,
  type CronScene,
} from '../support/cron-scene.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';

describe('a queue that is moved', () => {
  /** `between`: what the controller of the new place does before the move ends. */
  async function moved(
    between: (there: CronLeader) => Promise<unknown>,
    to: readonly [QueueKeys, ...QueueKeys[]] = [queueKeys('q', 'r')],
  ) {
    const stack = new AsyncDisposableStack();
    const old = stack.use(await cronScene());
    const place = stack.use(await startRedis());
    const there = cronLeader(place, to[0], stack);
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
    await using one = await cronScene();
    await one.redis.hset(one.keys.crons, 'report', text);
    const { run } = one.lead();
    await run('10:05:00');
    await run('10:10:00');
    expect(await one.queued()).toEqual([task('10:10')]);
  });

  test.each([-1, 9e15, 253_402_300_800_000])(
    'a last task at %d, which is no time, counts as none',
    async (when) => {
      await using one = await cronScene();
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
    await using one = await cronScene();
    await one.redis.hset(one.keys.crons, 'report', Buffer.from([0xff]));
    await one.lead().remove(['report']);
    expect(await one.redis.exists(one.keys.crons)).toBe(0);
  });

  test('a queue of another type: an error, and the occurrence is pushed when it is mended', async () => {
    await using one = await cronScene();
    const { run } = one.lead();
    await run('10:05:00');
    await one.redis.set(one.keys.queue, 'text');
    await expect(run('10:10:00')).rejects.toThrow('WRONGTYPE');
    await one.redis.del(one.keys.queue);
    expect(await run('10:10:20')).toMatchObject({ pushed: ['report:2026-11-29T10:10:00Z'] });
    expect(await one.queued()).toEqual([task('10:10')]);
  });

  test('a server that went back pushes again what it has forgotten, and no more', async () => {
    await using one = await cronScene();
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
  async function rewound(change: (one: CronScene, lead: CronLeader) => Promise<void>) {
    const one = await cronScene();
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
  await using one = await cronScene();
  await using proxy = await startTcpProxy(one.server.port);
  const client = defineScripts(openBounded({ url: `redis://127.0.0.1:${proxy.port}` }));
  try {
    const state: CronsState = new Map();
    const run = (now: string): Promise<CronsDone> =>
      runCrons(
        {
          crons: [everyTenMinutes],
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
