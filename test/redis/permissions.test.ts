/** `millrace doctor` tries commands in a transaction that it discards: nothing of it is executed, whatever becomes of the connection. */
import { expect, test } from 'vitest';
import { checkPermissions } from '../../cli/doctor/permissions.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';

test('a connection that is lost between the commands of the transaction', async () => {
  await using server = await startRedis();
  await using slow = await startTcpProxy(server.port, { roundTripMs: 40 });
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'the oldest', 'the newest');
  await redis.hset(keys.result, 'x', 'a result');
  await redis.set(keys.paused, 'for a reason');
  const check = checkPermissions({ url: `redis://127.0.0.1:${slow.port}` }, keys);
  check.catch(() => undefined);
  const id = await eventually(async () => {
    const clients = String(await redis.call('CLIENT', 'LIST'));
    const [, found] = /^id=(\d+) .*\bmulti=[2-9]/m.exec(clients) ?? [];
    expect(found).toBeDefined();
    return found ?? '';
  });
  await redis.call('CLIENT', 'KILL', 'ID', id);
  await expect(check).rejects.toThrow('Connection is closed');
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['the newest', 'the oldest']);
  expect(await redis.hgetall(keys.result)).toEqual({ x: 'a result' });
  expect(await redis.get(keys.paused)).toBe('for a reason');
  expect(await redis.dbsize()).toBe(3);
});
