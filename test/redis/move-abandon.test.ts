/** A move that was begun and cannot be finished: what is between the two places goes back, unless it has arrived. */
import { expect, onTestFinished, test } from 'vitest';
import { abandonMoves, UnknownMove } from '../../queue/move/abandon.ts';
import { moveQueues } from '../../queue/move/move.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { defineScripts, script } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';

const keys = queueKeys('tiles', 'result');
const to = partitionKeys('tiles', 'result', 2) as [QueueKeys, ...QueueKeys[]];
const leaseMs = 30;
/** Two of them are equal, and have each a past of its own. */
const tasks = ['same', 'same', ...Array.from({ length: 2_100 }, (_, i) => `t${i}`)];

async function server(): Promise<RedisServer> {
  const started = await startRedis();
  onTestFinished(() => started[Symbol.asyncDispose]());
  return started;
}

interface Places {
  readonly from: RedisServer;
  readonly there: RedisServer;
}

/** A move with a batch in hand, which these lists of the new place have refused. */
async function begun(refusing: readonly QueueKeys[] = to): Promise<Places> {
  const [from, there] = [await server(), await server()];
  const old = from.client();
  await old.lpush(keys.queue, ...tasks);
  await old.hset(keys.history, '=same', '2:1:x:3,1:1:y:3', '=t7', '4:1:x:3');
  const now = there.client();
  // of another type: nothing is written there
  for (const { queue } of refusing) await now.set(queue, 'text');
  const places = { from: from.address, to: there.address };
  const moved = moveQueues({ ...places, plans: [{ from: keys, to }], merge: true, leaseMs });
  await expect(moved).rejects.toThrow('WRONGTYPE');
  expect(await old.llen(keys.moving)).toBe(2_000);
  await now.del(...refusing.map(({ queue }) => queue));
  return { from, there };
}

/** Nothing is missing, nothing is left of the move, and workers get all as if it had not begun. */
async function expectBefore({ from }: Places, newer: string[] = []): Promise<void> {
  const old = from.client();
  expect(await old.lrange(keys.queue, 0, -1)).toEqual([...tasks, ...newer].toReversed());
  expect(await old.hgetall(keys.history)).toEqual({ '=same': '2:1:x:3,1:1:y:3', '=t7': '4:1:x:3' });
  expect(await old.exists(keys.move, keys.moving)).toBe(0);
}

test('what has not arrived goes back, in order and each with its past', async () => {
  const places = await begun();
  const { from, there } = places;
  const now = there.client();
  await from.client().lpush(keys.queue, 'newer');
  const options = { from: from.address, to: there.address, queues: [keys], leaseMs };
  expect(await abandonMoves(options)).toEqual([{ queue: 'tiles', returned: '2000 tasks', unasked: false }]);
  await expectBefore(places, ['newer']);
  expect(await now.keys('*')).toEqual([]);
  expect(await abandonMoves(options)).toEqual([]);
  expect(await from.client().exists(keys.move)).toBe(0);
});

test('what one partition has and the other refused: that alone goes back', async () => {
  const [refusing, accepting] = to as [QueueKeys, QueueKeys];
  const { from, there } = await begun([refusing]);
  const options = { from: from.address, to: there.address, queues: [keys], leaseMs };
  const there0 = await eventually(async () => {
    const list = await there.client().lrange(accepting.queue, 0, -1);
    expect(list.length).toBeGreaterThan(0);
    return list;
  });
  const [{ returned } = {}] = await abandonMoves(options);
  expect(returned).toBe(`${2_000 - there0.length} tasks`);
  const back = await from.client().lrange(keys.queue, 0, -1);
  expect([...back, ...there0].toSorted()).toEqual(tasks.toSorted());
  const arrived = new Set(there0);
  expect(back.toReversed()).toEqual(tasks.filter((task) => !arrived.has(task)));
});

test('the new place takes no batch that comes late, and the move does not go on', async () => {
  const places = await begun();
  const { from, there } = places;
  const now = there.client();
  const id = (await from.client().hget(keys.move, 'id')) ?? '';
  for (const { arrivals } of to) {
    const close = script(now, 'move-close');
    expect(String(await close(arrivals, id))).toBe('0');
    expect(String(await close(arrivals, id))).toBe('0');
  }
  const [{ arrivals, queue, delayed, dead, stats, history, pasts }] = to;
  const late = script(now, 'move-in')(
    arrivals,
    queue,
    delayed,
    dead,
    stats,
    history,
    pasts,
    id,
    1,
    'queue',
    '0',
    '',
    '|a',
  );
  expect(await late).toBe(-1);
  const move = { from: from.address, to: there.address, plans: [{ from: keys, to }], leaseMs };
  await expect(moveQueues(move)).rejects.toThrow('is being abandoned');
  await abandonMoves({ from: from.address, to: there.address, queues: [keys], leaseMs });
  await expectBefore(places);
});

test('a new place that is gone, or knows nothing of the move: nothing goes back unless that is wanted', async () => {
  const places = await begun();
  const { from } = places;
  const options = { from: from.address, queues: [keys], leaseMs };
  const other = await server();
  await expect(abandonMoves({ ...options, to: undefined })).rejects.toThrow(
    '2000 tasks of "tiles" are between the two places',
  );
  await expect(abandonMoves({ ...options, to: other.address })).rejects.toMatchObject({
    name: 'ArrivalUnknown',
    cause: expect.any(UnknownMove) as UnknownMove,
  });
  expect(await from.client().llen(keys.moving)).toBe(2_000);
  expect(await abandonMoves({ ...options, to: undefined, destinationGone: true })).toEqual([
    { queue: 'tiles', returned: '2000 tasks', unasked: true },
  ]);
  await expectBefore(places);
});

test('a destination that becomes a replica is reported, and the move goes on once it is a primary again', async () => {
  const [from, there] = [await server(), await server()];
  const now = there.client();
  const errors: string[] = [];
  const following = Promise.withResolvers<void>();
  const ended = new AbortController();
  const moved = moveQueues({
    from: from.address,
    to: there.address,
    plans: [{ from: keys, to: [keys] }],
    followMs: 3_600_000,
    signal: ended.signal,
    onFollowing: following.resolve,
    onError: (side, error) => errors.push(`${side}: ${error.message}`),
  });
  await Promise.race([following.promise, moved]);
  // of a primary that is not there, so that it keeps what it has
  await now.replicaof('127.0.0.1', 1);
  await from.client().lpush(keys.queue, 'late');
  await eventually(() => expect(errors.join('\n')).toMatch(/^destination: READONLY/m));
  await now.replicaof('NO', 'ONE');
  await eventually(async () => expect(await now.lrange(keys.queue, 0, -1)).toEqual(['late']));
  ended.abort();
  await moved;
});

test('what is back is reported where the reply to that was lost with the connection', async () => {
  const places = await begun();
  const { from, there } = places;
  const old = defineScripts(from.client());
  await using proxy = await startTcpProxy(from.port);
  const back = script(old, 'move-back');
  // so that the server knows it: of a process that has no lease
  await back(keys.move, keys.moving, keys.queue, keys.history, keys.pasts, keys.answers('x'), 'x', '1', '1');
  proxy.stallAfter(keys.answers(''));
  const options = { from: { url: `redis://127.0.0.1:${proxy.port}` }, to: there.address, queues: [keys] };
  const abandoned = abandonMoves({ ...options, leaseMs });
  await eventually(async () => expect(await old.exists(keys.move)).toBe(0));
  proxy.cut();
  proxy.resume();
  expect(await abandoned).toEqual([{ queue: 'tiles', returned: '2000 tasks', unasked: false }]);
  await expectBefore(places);
  expect(await old.keys(keys.answers('*'))).toEqual([]);
});
