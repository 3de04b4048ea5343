/** Sentinels and their requirements: encryption on every connection, and passwords. */
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import {
  closeRedis,
  dropRedis,
  describeRedisError,
  openRedis,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import { startLyingRedis } from '../support/lying-redis.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { startOneSentinel } from '../support/sentinel.ts';

/** What a person is told by the first connection, and how often. */
async function told(address: RedisAddress): Promise<string> {
  const failed = Promise.withResolvers<unknown>();
  const redis = openRedis(address, { onError: failed.resolve });
  try {
    return await Promise.race([
      within(10_000, redis.ping(), 'PING').then(() => 'it works'),
      failed.promise.then((error) => describeRedisError(error, address)),
    ]);
  } finally {
    await closeRedis(redis);
  }
}

/** A port that answers nothing and keeps the first byte that each connection sends. */
async function startTrap(): Promise<AsyncDisposable & { port: number; heard: readonly number[] }> {
  const heard: number[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', ([first = 0]) => {
      heard.push(first);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    heard,
    [Symbol.asyncDispose]: async () => {
      await new Promise((resolve) => void server.close(resolve));
    },
  };
}

/** What a TLS client begins with. */
const CLIENT_HELLO = 0x16;

test('sentinels and primary, both with TLS', async () => {
  await using redis = await startRedis({ tls: 'server', password: 'secret' });
  await using sentinel = await startOneSentinel({ primary: redis, name: 'main', tlsFrom: redis.dir });
  const { tls, password } = redis.address;
  const address = { sentinel: { name: 'main', nodes: [sentinel.node] }, tls, password };
  const client = openRedis(address);
  try {
    await client.set('a', '1');
    // it has no other port than that for TLS
    expect(await redis.client().get('a')).toBe('1');
  } finally {
    await closeRedis(client);
  }
  expect(await told({ ...address, tls: {} })).toMatch(/sentinel .* do not agree on TLS \(.*certificate/);
  expect(await told({ ...address, tls: undefined })).toMatch(/sentinel .* closes the connection/);
});

test('no word in clear to a primary that the sentinels name, nor to what stands in for a sentinel', async () => {
  await using redis = await startRedis({ tls: 'server' });
  await using trap = await startTrap();
  const named = { host: '127.0.0.1', port: trap.port };
  await using sentinel = await startOneSentinel({ primary: named, name: 'main', tlsFrom: redis.dir });
  const { tls } = redis.address;
  const given = { tls, username: 'app', password: 'secret' };
  // the trap hangs up, so the client has spoken to it when it fails
  await told({ ...given, sentinel: { name: 'main', nodes: [sentinel.node] } });
  expect(trap.heard.length).toBeGreaterThan(0);
  await using other = await startTrap();
  await told({ ...given, sentinel: { name: 'main', nodes: [`127.0.0.1:${other.port}`] } });
  expect(other.heard.length).toBeGreaterThan(0);
  expect(new Set([...trap.heard, ...other.heard])).toEqual(new Set([CLIENT_HELLO]));
});

test.each([
  ['the same as that of Redis, which is tried by itself', 'secret', {}, 'it works'],
  ['the same, and a user whom only Redis knows', 'secret', { username: 'app' }, 'it works'],
  ['one of their own', 'own', { own: 'own' }, 'it works'],
  ['none, and one is given for Redis', undefined, {}, 'it works'],
  ['another one than is given', 'own', {}, /: the sentinels refuse the password: give theirs/],
  ['one, and the wrong one is given', 'own', { own: 'wrong' }, /: the sentinels refuse the password/],
])(
  'a password of sentinels: %s',
  async (_what, password, { own, username }: { own?: string; username?: string }, words) => {
    await using redis = await startRedis({ password: 'secret' });
    await redis.client().call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all');
    await using sentinel = await startOneSentinel({
      primary: redis,
      name: 'main',
      ...(password === undefined ? {} : { password }),
    });
    const address = {
      sentinel: { name: 'main', nodes: [sentinel.node], password: own },
      username,
      password: 'secret',
    };
    expect(await told(address)).toEqual(typeof words === 'string' ? words : expect.stringMatching(words));
  },
);

test('what a sentinel replies is cut and cleaned, and withheld from those who must not read it', async () => {
  await using liar = await startLyingRedis();
  liar.tell({ sentinel: { bytes: `-ERR \u001B[31mwhat listens here${' and more'.repeat(200)}\r\n` } });
  const address = { sentinel: { name: 'main', nodes: [`127.0.0.1:${liar.port}`] } };
  const { promise, resolve } = Promise.withResolvers<Error>();
  const client = openRedis(address, { retryStrategy: () => null, onError: resolve });
  const error = await promise;
  dropRedis(client);
  const quoted = describeRedisError(error, address);
  expect(quoted).toContain('what listens here');
  expect(quoted.length).toBeLessThan(500);
  expect(quoted).not.toContain('\u001B');
  expect(describeRedisError(error, address, 'withheld')).toMatch(
    /: sentinel 127\.0\.0\.1:\d+ rejected a command: its reply is in the controller's log$/,
  );
});

test('refusals of sentinels are reported with the same message each time', async () => {
  await using redis = await startRedis();
  await using sentinel = await startOneSentinel({ primary: redis, name: 'main', password: 'own' });
  const away = `127.0.0.1:${await freePort()}`;
  const address = { sentinel: { name: 'main', nodes: [away, sentinel.node] } };
  const lines: string[] = [];
  const thrice = Promise.withResolvers<undefined>();
  const client = openRedis(address, {
    retryStrategy: () => 1,
    onError: (error) => {
      if (lines.push(describeRedisError(error, address)) === 3) thrice.resolve(undefined);
    },
  });
  await thrice.promise;
  await closeRedis(client);
  expect(new Set(lines)).toEqual(
    new Set([
      `Redis at sentinel "main" at ${away}, ${sentinel.node}: the sentinels require a password: ` +
        'give it as sentinel.passwordFrom or MILLRACE_REDIS_SENTINEL_PASSWORD',
    ]),
  );
  expect(await told({ sentinel: { name: 'main', nodes: [away] } })).toBe(
    `Redis at sentinel "main" at ${away}: sentinel ${away} refuses connections: is it running, and is the port right?`,
  );
  expect(await told({ sentinel: { name: 'other', nodes: [sentinel.node], password: 'own' } })).toMatch(
    /: no sentinel monitors a primary "other": check sentinel\.name$/,
  );
});

test.each(['gone', 'frozen'])(
  'a sentinel that still names a primary that is %s does not keep a client from the one that another names',
  async (kind) => {
    await using redis = await startRedis();
    await using old = await startRedis();
    await using behind = await startOneSentinel({ primary: old, name: 'main' });
    await using sentinel = await startOneSentinel({ primary: redis, name: 'main' });
    if (kind === 'gone') await old.kill();
    else old.stop();
    const address = { sentinel: { name: 'main', nodes: [behind.node, sentinel.node] } };
    const client = openRedis(address, { socketTimeout: 500 });
    try {
      await within(30_000, client.set('a', '1'), 'SET');
      expect(await redis.client().get('a')).toBe('1');
    } finally {
      await closeRedis(client);
      if (kind === 'frozen') old.cont();
    }
  },
);
