/** Connections against real servers: addresses, TLS, passwords, and what is said when one does not fit. */
import { describe, expect, test } from 'vitest';
import {
  closeRedis,
  describeRedisError,
  dropRedis,
  openRedis,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';

/** What a person is told when the address does not work. */
async function complaint(address: RedisAddress): Promise<string> {
  let last: unknown;
  const redis = openRedis(address, { onError: (error) => (last = error), maxRetriesPerRequest: 0 });
  try {
    await within(60_000, redis.ping(), 'PING');
    return 'it works';
  } catch (error) {
    return describeRedisError(last ?? error, address);
  } finally {
    await closeRedis(redis);
  }
}

describe('the server that tests use', () => {
  test('a forgotten connection fails the test that forgot it', async () => {
    const server = await startRedis({ leakMs: 500 });
    const forgotten = openRedis(server.address);
    await forgotten.client('SETNAME', 'forgotten');
    await expect(server[Symbol.asyncDispose]()).rejects.toThrow(/not closed:[^]*name=forgotten/);
    dropRedis(forgotten);
  });
});

describe('TLS', () => {
  test('a private authority is trusted if it is given, and its absence is reported', async () => {
    await using redis = await startRedis({ tls: 'server' });
    expect(await redis.client().ping()).toBe('PONG');
    const { url } = redis;
    expect(await complaint({ url })).toMatch(/do not agree on TLS \(.*certificate/);
    expect(await complaint({ url, tls: { insecureSkipVerify: true } })).toBe('it works');
    expect(await complaint({ ...redis.address, url: url.replace('rediss', 'redis') })).toBe('it works');
    expect(await complaint({ url: url.replace('rediss', 'redis') })).toMatch(
      /does it want TLS \(rediss:\/\/\)/,
    );
  });

  test('a name that is not in the certificate is reported, and another one can be expected', async () => {
    await using redis = await startRedis({ tls: 'server' });
    const { ca } = redis.address.tls ?? {};
    expect(await complaint({ url: redis.url, tls: { ca, serverName: 'redis.example' } })).toMatch(
      /do not agree on TLS/,
    );
    expect(await complaint({ url: redis.url, tls: { ca, serverName: 'localhost' } })).toBe('it works');
  });

  test('a client certificate, where the server asks for one', async () => {
    await using redis = await startRedis({ tls: 'mutual' });
    expect(await redis.client().ping()).toBe('PONG');
    const { ca } = redis.address.tls ?? {};
    expect(await complaint({ url: redis.url, tls: { ca } })).toMatch(
      /closes the connection: .*does it want a client certificate|do not agree on TLS \(.*certificate required/,
    );
  });

  test('closing in the middle of a handshake that fails does not end the process', async () => {
    await using redis = await startRedis({ tls: 'server' });
    // vitest reports what nobody catches; about every third of these fails twice
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const client = openRedis({ url: redis.url });
        await new Promise((resolve) => void setTimeout(resolve, i / 2));
        await closeRedis(client);
        await new Promise((resolve) => void setTimeout(resolve, 100));
      }),
    );
    expect(await redis.client().ping()).toBe('PONG');
  });
});

describe('passwords', () => {
  test('in the URL, apart from it, and of a named user', async () => {
    await using redis = await startRedis({ password: 'p@ss/word' });
    await redis.client().call('ACL', 'SETUSER', 'app', 'on', '>its own', '~*', '+@all');
    const { url, host, port } = redis;
    expect(await complaint({ url: `redis://:p%40ss%2Fword@${host}:${port}` })).toBe('it works');
    expect(await complaint({ url: `redis://:wrong@${host}:${port}`, password: 'p@ss/word' })).toBe(
      'it works',
    );
    expect(await complaint({ url: `redis://app:its%20own@${host}:${port}/3` })).toBe('it works');
    expect(await complaint({ url, username: 'app', password: 'its own' })).toBe('it works');
  });

  test.each([
    ['none', {}],
    ['a wrong one', { password: 'wrong' }],
    ['a wrong user', { username: 'nobody', password: 'secret' }],
  ])('%s: told, without saying which it was', async (_what, given) => {
    await using redis = await startRedis({ password: 'secret' });
    const told = await complaint({ url: redis.url, ...given });
    expect(told).toMatch(/^Redis at 127\.0\.0\.1:\d+ refuses the user name or password/);
    expect(told).not.toMatch(/wrong|secret|nobody/);
  });
});

describe('databases', () => {
  test('one that the server does not have: nothing is done in another one, and it is reported', async () => {
    await using redis = await startRedis({ args: ['--databases', '4'] });
    const address = { url: `${redis.url}/4` };
    const told = await complaint(address);
    expect(told).toBe(
      `Redis at 127.0.0.1:${redis.port}/4 has no database 4: it has fewer of them, or is a node of a Valkey Cluster, which must be named as one: as cluster.nodes, or by --cluster`,
    );
    const client = openRedis(address);
    try {
      await expect(client.lpush('q', 'a task')).rejects.toThrow('has no database 4');
    } finally {
      await closeRedis(client);
    }
    expect(await redis.client().exists('q')).toBe(0);
    expect(await complaint({ url: `${redis.url}/3` })).toBe('it works');
  });

  test('a number far beyond all is refused before there is a connection', async () => {
    expect(() => openRedis({ url: 'redis://localhost/99999999999999999999' })).toThrow(
      'names a database that no server has',
    );
  });

  test('a user who may not select', async () => {
    await using redis = await startRedis();
    await redis.client().call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-select');
    const address = { url: `${redis.url}/3`, username: 'app', password: 'secret' };
    expect(await complaint(address)).toBe(
      `Redis at 127.0.0.1:${redis.port}/3 does not let this user into database 3: ` +
        'give it +select, or leave the database out of the URL',
    );
    expect(await complaint({ ...address, url: redis.url })).toBe('it works');
  });

  test('a client that waits gets in when the server changes its mind', async () => {
    await using redis = await startRedis();
    const admin = redis.client();
    await admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-select');
    const refused = Promise.withResolvers<Error>();
    const client = openRedis(
      { url: `${redis.url}/3`, username: 'app', password: 'secret' },
      { onError: refused.resolve, retryStrategy: () => 10 },
    );
    try {
      await refused.promise;
      await admin.call('ACL', 'SETUSER', 'app', '+select');
      await new Promise((resolve) => void client.once('ready', resolve));
      await client.set('where', 'here');
      await admin.select(3);
      expect(await admin.get('where')).toBe('here');
    } finally {
      await closeRedis(client);
    }
  });
});

describe('a Redis Cluster', () => {
  test('is reported as what it is, whatever it refuses', async () => {
    await using redis = await startRedis({ args: ['--cluster-enabled', 'yes'] });
    const client = redis.client();
    const address = redis.address;
    const sentence = `Redis at 127.0.0.1:${redis.port} is a node of a Redis Cluster, which must be named as one`;
    const refusal = async (asked: Promise<unknown>): Promise<string> =>
      describeRedisError(await asked.catch((error: unknown) => error), address);
    expect(await refusal(client.get('a'))).toContain(sentence); // CLUSTERDOWN: it has no slots yet
    await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await eventually(async () => expect(await client.cluster('INFO')).toContain('cluster_state:ok'));
    expect(await refusal(client.mget('a', 'b'))).toContain(sentence); // CROSSSLOT
    expect(await complaint({ url: `${redis.url}/1` })).toMatch(
      /is a node of a (Redis|Valkey) Cluster, which must be named as one/,
    );
  });
});

describe('servers that are not there', () => {
  test('nothing listens', async () => {
    const port = await freePort();
    expect(await complaint({ url: `redis://127.0.0.1:${port}/2` })).toBe(
      `Redis at 127.0.0.1:${port}/2 refuses connections: is it running, and is the port right?`,
    );
  });

  test('the name does not resolve', async () => {
    expect(await complaint({ url: 'redis://no-such-host.invalid' })).toBe(
      'Redis at no-such-host.invalid:6379 cannot be found: the host name does not resolve',
    );
  });

  test('it does not answer: the wait is bounded, and closing is quick', async () => {
    await using redis = await startRedis();
    await sooner(900, async () => {
      const client = openRedis(redis.address);
      await client.ping();
      redis.stop();
      await expect(within(100, client.ping(), 'PING')).rejects.toThrow('PING got no answer within 100 ms');
      const began = performance.now();
      await closeRedis(client);
      const took = performance.now() - began;
      redis.cont();
      return took;
    });
  });
});

describe('requests during a connection attempt that ends before it is ready', () => {
  test.each([
    ['is asked again on the next one', true],
    ['is rejected where nothing is to be sent twice', false],
  ])('%s', async (_what, autoResendUnfulfilledCommands) => {
    await using server = await startRedis();
    await using proxy = await startTcpProxy(server.port);
    const url = `redis://127.0.0.1:${proxy.port}`;
    const client = openRedis({ url }, { autoResendUnfulfilledCommands, connectionName: 'ours' });
    try {
      proxy.stall('replies');
      await eventually(() => expect(client.status).toBe('connect'));
      const asked = Promise.allSettled([client.client('GETNAME'), client.info('memory')]);
      proxy.cut();
      proxy.resume();
      const [name, memory] = await asked;
      expect([name.status, memory.status]).toEqual(
        autoResendUnfulfilledCommands ? ['fulfilled', 'fulfilled'] : ['rejected', 'rejected'],
      );
      // the answers did not change places
      if (name.status === 'fulfilled') expect(name.value).toBe('ours');
      expect(await client.echo('still in step')).toBe('still in step');
    } finally {
      await closeRedis(client);
    }
  });
});

describe('addresses that cannot be one', () => {
  test.each<[string, RegExp, RedisAddress]>([
    ['nothing', /^no Redis address: give a URL/, {}],
    ['no URL', /^the Redis URL cannot be read/, { url: 'localhost' }],
    ['a half escape', /^the Redis URL cannot be read/, { url: 'redis://:50%off@localhost' }],
    ['another protocol', /begins with "http:\/\/": use redis:\/\//, { url: 'http://localhost' }],
    [
      'a database by name',
      /names a database that is not a number: write it as in \/0/,
      { url: 'redis://localhost/main' },
    ],
    [
      'a bad sentinel',
      /^the address of sentinel 1 cannot be read: write host:26379/,
      { sentinel: { name: 'm', nodes: ['a:b:c'] } },
    ],
  ])('%s', (_what, message, address) => {
    expect(() => openRedis(address)).toThrow(message);
    expect(() => openRedis(address)).toThrow(RangeError);
  });
});
