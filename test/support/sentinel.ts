/** Real sentinels that watch a real primary: the server program in its other mode, a child process each. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { dropRedis, openRedis } from '../../queue/connection/connection.ts';
import { kill, run, startGuard } from './children.ts';
import { eventually } from './eventually.ts';
import { freePort } from './ports.ts';
import { findServer, type RedisServer } from './redis.ts';

export interface Sentinels extends AsyncDisposable {
  /** `host:port` of each. */
  readonly nodes: readonly string[];
  /** `SENTINEL FAILOVER`: the replica takes over in good order. */
  failOver(): Promise<void>;
  /** Resolves when all of them name this server as the primary. */
  agreeOn(server: Pick<RedisServer, 'port'>): Promise<void>;
  /** Throws unless two of the three do so now. */
  expectMajority(server: Pick<RedisServer, 'port'>): Promise<void>;
}

export interface SentinelsOptions {
  /** How long the primary must be silent to count as down, ms. */
  readonly downAfterMs?: number;
  /** As whom they connect to the servers. */
  readonly user?: { readonly name: string; readonly password: string };
  /** Of the primary, 1 by default. */
  readonly replicas?: number;
}

/** Starts three that call the primary `name`, and resolves when each knows the replicas and the other two. */
export async function startSentinels(
  { host, port }: Pick<RedisServer, 'host' | 'port'>,
  name: string,
  { downAfterMs = 1_000, user, replicas = 1 }: SentinelsOptions = {},
): Promise<Sentinels> {
  await using stack = new AsyncDisposableStack();
  const nodes: string[] = [];
  for (let i = 0; i < 3; i++) {
    const own = await freePort();
    const dir = await mkdtemp(join(tmpdir(), 'millrace-sentinel-'));
    stack.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));
    const settings = [
      `port ${own}`,
      `bind ${host}`,
      `dir ${dir}`,
      `sentinel monitor ${name} ${host} ${port} 2`,
      `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
      `sentinel failover-timeout ${name} 5000`,
      ...(user
        ? [`sentinel auth-user ${name} ${user.name}`, `sentinel auth-pass ${name} ${user.password}`]
        : []),
    ];
    await writeFile(join(dir, 'sentinel.conf'), `${settings.join('\n')}\n`);
    const child = run(findServer(), dir, [join(dir, 'sentinel.conf'), '--sentinel']);
    const guard = startGuard([child], dir);
    stack.defer(async () => {
      await kill(child);
      await kill(guard);
    });
    nodes.push(`${host}:${own}`);
  }
  for (const node of nodes) await eventually(() => knowsAll(node, name, replicas), { everyMs: 100 });
  const started = stack.move();
  return {
    nodes,
    // refused while one of them has just been started, or is not over yet
    failOver: () =>
      eventually(
        () => ask(nodes[0] ?? '', (redis) => redis.call('SENTINEL', 'FAILOVER', name).then(() => undefined)),
        {
          everyMs: 200,
        },
      ),
    agreeOn: async (server) => {
      for (const node of nodes)
        await eventually(
          async () => {
            const found = await ask(node, (redis) => redis.call('SENTINEL', 'get-master-addr-by-name', name));
            if (Array.isArray(found) && Number(found[1]) === server.port) return;
            throw new Error(`the sentinel at ${node} names ${String(found)}`);
          },
          { everyMs: 50 },
        );
    },
    expectMajority: async (server) => {
      const found = await Promise.all(
        nodes.map((node) => ask(node, (redis) => redis.call('SENTINEL', 'get-master-addr-by-name', name))),
      );
      const ports = found.map((one) => (Array.isArray(one) ? Number(one[1]) : undefined));
      if (ports.filter((one) => one === server.port).length < 2)
        throw new Error(`the sentinels name ${ports.join(', ')}, and not ${server.port}`);
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

async function ask<T>(node: string, question: (redis: Redis) => Promise<T>): Promise<T> {
  const sentinel = openRedis({ url: `redis://${node}` }, { retryStrategy: () => 50 });
  try {
    return await question(sentinel);
  } finally {
    dropRedis(sentinel);
  }
}

export interface OneSentinelOptions {
  /** The address of the primary, according to it. */
  readonly primary: Pick<RedisServer, 'host' | 'port'>;
  readonly name: string;
  /** Its own password. */
  readonly password?: string;
  /** A further user of its own, with all rights. */
  readonly user?: { readonly name: string; readonly password: string };
  /** The password with which it connects to the primary. */
  readonly primaryPassword?: string;
  /** A folder with the certificates of a server that listens with TLS: then it does so, too, and connects to the primary with it. */
  readonly tlsFrom?: string;
}

/** Starts a single one; it answers when this resolves. */
export async function startOneSentinel(
  options: OneSentinelOptions,
): Promise<AsyncDisposable & { readonly node: string }> {
  const { primary, name, password, user, primaryPassword, tlsFrom } = options;
  const port = await freePort();
  const dir = await mkdtemp(join(tmpdir(), 'millrace-sentinel-'));
  const file = (of: string): string => join(tlsFrom ?? '', of);
  const settings = [
    ...(tlsFrom === undefined
      ? [`port ${port}`]
      : [
          'port 0',
          `tls-port ${port}`,
          `tls-ca-cert-file ${file('ca.crt')}`,
          `tls-cert-file ${file('redis.crt')}`,
          `tls-key-file ${file('redis.key')}`,
          'tls-auth-clients no',
          'tls-replication yes',
        ]),
    `bind ${primary.host}`,
    `dir ${dir}`,
    ...(password === undefined ? [] : [`requirepass ${password}`]),
    ...(user === undefined ? [] : [`user ${user.name} on >${user.password} +@all`]),
    `sentinel monitor ${name} ${primary.host} ${primary.port} 1`,
    ...(primaryPassword === undefined ? [] : [`sentinel auth-pass ${name} ${primaryPassword}`]),
  ];
  await writeFile(join(dir, 'sentinel.conf'), `${settings.join('\n')}\n`);
  const child = run(findServer(), dir, [join(dir, 'sentinel.conf'), '--sentinel']);
  const guard = startGuard([child], dir);
  await eventually(() => listens(port), { everyMs: 50 });
  return {
    node: `${primary.host}:${port}`,
    [Symbol.asyncDispose]: async () => {
      await kill(child);
      await kill(guard);
      await rm(dir, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

function listens(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.destroy();
      resolve();
    }).once('error', reject);
  });
}

async function knowsAll(node: string, name: string, replicas: number): Promise<void> {
  const reply = (await ask(node, (redis) => redis.call('SENTINEL', 'MASTER', name))) as string[];
  const field = (key: string): string | undefined => reply[reply.indexOf(key) + 1];
  if (field('num-slaves') !== String(replicas) || field('num-other-sentinels') !== '2')
    throw new Error(`the sentinel at ${node} does not know all yet: ${reply.join(' ')}`);
}
