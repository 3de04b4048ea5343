/** A pool with sentinels from outside of its cluster: each host is reached by a way of its own, as by a port-forward. */
import { expect, test } from 'vitest';
import { reachBy, type FindWay } from '../../cli/access/reach.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { startOneSentinel } from '../support/sentinel.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';

test('with TLS and passwords: the primary that a sentinel names, and a report of each sentinel', async () => {
  await using redis = await startRedis({ tls: 'server', password: 'secret' });
  await using sentinel = await startOneSentinel({
    primary: redis,
    name: 'main',
    tlsFrom: redis.dir,
    password: 'own',
    primaryPassword: 'secret',
  });
  await using toSentinel = await startTcpProxy(Number(sentinel.node.split(':')[1]));
  await using toPrimary = await startTcpProxy(redis.port);
  const gone = await freePort();
  // names that resolve nowhere here, but for the one in the certificate
  const ways = new Map([
    ['gone.redis:26379', gone],
    ['localhost:26379', toSentinel.port],
    [`${redis.host}:${redis.port}`, toPrimary.port],
  ]);
  const way: FindWay = (host, port) => {
    const to = ways.get(`${host}:${port}`);
    if (to === undefined) throw new Error(`there is no way to ${host}:${port}`);
    return Promise.resolve({ host: '127.0.0.1', port: to, forward: undefined });
  };
  const address: RedisAddress = {
    sentinel: { name: 'main', nodes: ['gone.redis', 'localhost'], password: 'own' },
    password: 'secret',
    tls: { ca: redis.address.tls?.ca },
  };
  const reached = await reachBy(way, address);
  expect(reached.address.url).toBe(`rediss://127.0.0.1:${toPrimary.port}`);
  const warned: string[] = [];
  const onWarning = ({ message }: Error): void => void warned.push(message);
  process.on('warning', onWarning);
  const client = openRedis(reached.address);
  expect(await client.ping()).toBe('PONG');
  await closeRedis(client);
  process.off('warning', onWarning);
  // the name in its certificate is an address, with which Node would find fault
  expect(warned).toEqual([]);
  const other = { ...reached.address, tls: { ...reached.address.tls, serverName: '127.0.0.2' } };
  const failed = Promise.withResolvers<Error>();
  const refused = openRedis(other, { onError: failed.resolve });
  expect((await failed.promise).message).toMatch(/IP: 127\.0\.0\.2 is not in the cert's list/);
  await closeRedis(refused);

  const views = (await reached.sentinels?.()) ?? [];
  expect(views.map(({ node }) => node)).toEqual(['gone.redis:26379', 'localhost:26379']);
  expect(views[0]?.report).toMatchObject({ message: expect.stringContaining('refuses connections') });
  const primary = { host: redis.host, port: redis.port };
  expect(views[1]?.report).toMatchObject({ primary, replicas: 0, otherSentinels: 0 });
  const wrong = { ...address, sentinel: { name: 'main', nodes: ['localhost'], password: 'wrong' } };
  await expect(reachBy(way, wrong)).rejects.toThrow('the sentinels refuse the password');
});
