/** Hosts that may not be connected to: no way of writing them leads there, and neither does a sentinel. */
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hostGuard } from '../../controller/connect/allowed-hosts.ts';
import {
  closeRedis,
  describeRedisError,
  openRedis,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startOneSentinel } from '../support/sentinel.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => await server?.[Symbol.asyncDispose]());

const guard = hostGuard({ allowed: [], allowLocal: false });

/** The first two errors of a client, or what PING answered. */
async function told(address: RedisAddress): Promise<string> {
  const errors: unknown[] = [];
  const failed = Promise.withResolvers<string>();
  const redis = openRedis(address, {
    onError: (error) => {
      errors.push(error);
      // it goes on trying, as with any host that is away
      if (errors.length === 2) failed.resolve(describeRedisError(error, address));
    },
  });
  try {
    return await within(10_000, Promise.race([redis.ping(), failed.promise]), 'PING');
  } finally {
    await closeRedis(redis);
  }
}

const NOT_ALLOWED =
  /^Redis at .* is not a host that the controller may connect to: choose another, or have it added/;

test('no spelling of a local address is connected to, by an open or an encrypted connection', async () => {
  let connections = 0;
  const trap = createServer((socket) => {
    connections++;
    socket.destroy();
  }).listen(0, '::');
  await once(trap, 'listening');
  const { port } = trap.address() as AddressInfo;
  const hosts = [
    '127.0.0.1',
    'localhost',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '2130706433',
    '0x7f000001',
    '0',
    '127.1',
  ];
  try {
    const answers = hosts.flatMap((host) =>
      ['redis', 'rediss'].map((scheme) => told({ url: `${scheme}://${host}:${port}`, guard })),
    );
    for (const answer of await Promise.all(answers)) expect(answer).toMatch(NOT_ALLOWED);
    expect(connections).toBe(0);
  } finally {
    trap.close();
  }
});

test('listed hosts are connected to, by address and by name', async () => {
  const listed = hostGuard({ allowed: ['127.0.0.1'], allowLocal: false });
  expect(await told({ url: server.url, guard: listed })).toBe('PONG');
  expect(await told({ url: `redis://localhost:${server.port}`, guard: listed })).toBe('PONG');
});

test('a sentinel is judged as a Redis is, and so is what it names', async () => {
  await using sentinel = await startOneSentinel({ primary: server, name: 'main' });
  const nodes = [sentinel.node];
  const address = (rules: string[]): RedisAddress => ({
    sentinel: { name: 'main', nodes },
    guard: hostGuard({ allowed: rules, allowLocal: false }),
  });
  expect(await told(address(['10.0.0.0/8']))).toMatch(/is not a host that the controller may connect to/);
  expect(await told(address(['127.0.0.1']))).toBe('PONG');
  // the sentinel may be reached, and the primary that it names may not
  let asked = 0;
  const everySecond = { allows: () => ++asked % 2 === 1 };
  const said = await told({ sentinel: { name: 'main', nodes }, guard: everySecond });
  expect(said).toMatch(NOT_ALLOWED);
  expect(said).not.toContain(': sentinel');
});
