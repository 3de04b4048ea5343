/** Problems of a pool's Redis, how the pool reports each, and how it is fixed. */
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { ObjectRef } from '../../kube/resources.ts';
import type { RedisServer } from '../support/redis.ts';
import type { Json } from '../support/world.ts';

export const PASSWORD = 'correct-horse';
export const WRONG = 'battery-staple';
export const secretKeyRef = { name: 'redis', key: 'value' };

/** `dead` is the one that a row may kill. */
export type Servers = Record<'plain' | 'guarded' | 'tls' | 'dead', RedisServer>;

export interface Scene {
  readonly servers: Servers;
  readonly ref: ObjectRef;
  readonly redis: Redis;
  /** A Secret of the name that `secretKeyRef` has. */
  secret(data: Record<string, string>): Promise<unknown>;
  edit(redis: Json): Promise<unknown>;
}

export interface Row {
  readonly what: string;
  /** Makes the trouble; returns `spec.redis`. */
  readonly make: (scene: Scene) => Promise<Json> | Json;
  /** Ready's reason, RedisReachable's reason, and what both say. */
  readonly ready: string;
  readonly reachable: string;
  readonly words: RegExp;
  readonly mend: (scene: Scene) => Promise<unknown>;
  /** Where the tasks are to be pushed after that; default: the plain server. */
  readonly server?: keyof Servers;
}

const url = (server: RedisServer): { url: string } => ({ url: server.url });
const toPlain = (scene: Scene): Promise<unknown> => scene.edit(url(scene.servers.plain));
const unreachable = { ready: 'RedisUnreachable', reachable: 'Unreachable' };
const noAddress = { ready: 'SecretMissing', reachable: 'NoAddress' };
const wrongType = { ready: 'RedisWrongKeyType', reachable: 'WrongKeyType' };

export const rows: Row[] = [
  {
    what: 'nobody listens at the port',
    make: async ({ servers }) => {
      await servers.dead.kill();
      return url(servers.dead);
    },
    ...unreachable,
    words: /refuses connections: is it running, and is the port right\?/,
    mend: ({ servers }) => servers.dead.start(),
    server: 'dead',
  },
  {
    what: 'a wrong password in a Secret',
    make: async (scene) => {
      await scene.secret({ value: WRONG });
      return { ...url(scene.servers.guarded), passwordFrom: { secretKeyRef } };
    },
    ...unreachable,
    words: /refuses the user name or password/,
    mend: (scene) => scene.secret({ value: PASSWORD }),
    server: 'guarded',
  },
  {
    what: 'a wrong password in the URL',
    make: ({ servers }) => ({ url: servers.guarded.url.replace('//', `//:${WRONG}@`) }),
    ...unreachable,
    words: /refuses the user name or password/,
    mend: toPlain,
  },
  {
    what: 'no password where one is needed',
    make: ({ servers }) => url(servers.guarded),
    ...unreachable,
    words: /refuses the user name or password/,
    mend: toPlain,
  },
  {
    what: 'TLS to a plain server',
    make: ({ servers }) => ({ url: servers.plain.url.replace('redis:', 'rediss:') }),
    ...unreachable,
    words: /does not answer: .* whether it speaks TLS/,
    mend: toPlain,
  },
  {
    what: 'a plain connection to a TLS server',
    make: ({ servers }) => ({ url: servers.tls.url.replace('rediss:', 'redis:') }),
    ...unreachable,
    words: /closes the connection: .*does it want TLS \(rediss:/,
    mend: toPlain,
  },
  {
    what: 'a certificate that nobody vouches for',
    make: ({ servers }) => url(servers.tls),
    ...unreachable,
    words: /do not agree on TLS \(.*certificate/,
    mend: async (scene) => {
      await scene.secret({ value: scene.servers.tls.address.tls?.ca ?? '' });
      await scene.edit({ tls: { caFrom: { secretKeyRef } } });
    },
    server: 'tls',
  },
  {
    what: 'a host that does not exist',
    make: () => ({ url: 'redis://redis.invalid:6379' }),
    ...unreachable,
    words: /redis\.invalid:6379 cannot be found: the host name does not resolve/,
    mend: toPlain,
  },
  {
    what: 'a Secret that is missing',
    make: () => ({ urlFrom: { secretKeyRef } }),
    ...noAddress,
    words: /Secret "redis" does not exist in namespace "test-\d+": create it with a key "value"/,
    mend: (scene) => scene.secret({ value: scene.servers.plain.url }),
  },
  {
    what: 'a Secret without the key',
    make: async (scene) => {
      await scene.secret({ other: 'x' });
      return { urlFrom: { secretKeyRef } };
    },
    ...noAddress,
    words: /Secret "redis" in namespace "test-\d+" has no key "value": add it/,
    mend: (scene) => scene.secret({ value: scene.servers.plain.url }),
  },
  {
    what: 'a Secret with something that is not a URL',
    make: async (scene) => {
      await scene.secret({ value: `redis//:${WRONG}@host` });
      return { urlFrom: { secretKeyRef } };
    },
    ready: 'InvalidSpec',
    reachable: 'NoAddress',
    words: /the Redis URL cannot be read: write it like/,
    mend: (scene) => scene.secret({ value: scene.servers.plain.url }),
  },
  {
    what: 'a password in a Secret that is not percent-encoded',
    make: async (scene) => {
      await scene.secret({ value: `redis://app:/${WRONG}@redis:6379/0` });
      return { urlFrom: { secretKeyRef } };
    },
    ready: 'InvalidSpec',
    reachable: 'NoAddress',
    words: /the Redis URL has an @ behind its host: percent-encode/,
    mend: (scene) => scene.secret({ value: scene.servers.plain.url }),
  },
  {
    what: 'a database that the server has not',
    make: ({ servers }) => ({ url: `${servers.plain.url}/16` }),
    ...unreachable,
    words: /has no database 16: it has fewer of them/,
    mend: toPlain,
  },
  {
    what: 'a queue key that is a string',
    make: async ({ ref, redis, servers }) => {
      await redis.set(ref.namespace, 'mine');
      return url(servers.plain);
    },
    ...wrongType,
    words: /the key "test-\d+" is not a list .*nothing was touched/,
    mend: async ({ ref, redis }) => {
      expect(await redis.get(ref.namespace)).toBe('mine');
      await redis.del(ref.namespace);
    },
  },
  {
    what: 'a result key that is a set',
    make: async ({ ref, redis, servers }) => {
      await redis.sadd(`${ref.namespace}:result`, 'a', 'b');
      return url(servers.plain);
    },
    ...wrongType,
    words: /the key "test-\d+:result" is not a hash \(it is a set\): nothing was touched/,
    mend: async ({ ref, redis }) => {
      expect((await redis.smembers(`${ref.namespace}:result`)).toSorted()).toEqual(['a', 'b']);
      await redis.del(`${ref.namespace}:result`);
    },
  },
];
