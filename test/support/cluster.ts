/** A real Redis Cluster for tests: primaries that share the slots evenly, each with replicas if wanted. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import calculateSlot from 'cluster-key-slot';
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { makeCertificates } from './certificates.ts';
import { eventually } from './eventually.ts';
import { freePort } from './ports.ts';
import { startRedis, type RedisServer, type RedisServerOptions } from './redis.ts';

const SLOTS = 16_384;

export interface ClusterOptions extends Pick<RedisServerOptions, 'password' | 'tls' | 'program'> {
  readonly primaries?: number;
  /** Of each primary. */
  readonly replicas?: number;
  /** With TLS, host names that the nodes announce, and certificates for these alone; and a user `app` with the password `secret`. */
  readonly names?: boolean;
}

export interface RedisCluster extends AsyncDisposable {
  /** Primaries first. */
  readonly servers: readonly RedisServer[];
  readonly address: RedisAddress;
  /** The primary that has the key's slot according to the first server that answers. */
  ownerOf(key: string): Promise<RedisServer>;
  /** Throws if it has none that is known. */
  replicaOf(primary: RedisServer): Promise<RedisServer>;
  /** A client of that primary, with Millrace's scripts. */
  clientOf(key: string): Promise<Redis>;
  /** Moves the key's slot, with all that is in it, to another primary. Resolves to that. */
  moveSlot(key: string): Promise<RedisServer>;
  /** A new node joins, and takes the key's slot with all that is in it. Resolves to that node. */
  joinFor(key: string): Promise<RedisServer>;
  /** The key's slot, the only one of its primary, goes to the first node; all forget that primary, and it ends. */
  dropOwnerOf(key: string): Promise<void>;
  /** The same up to the moment when only the slot itself has not changed hands: the keys that were there are at the other one. */
  beginMove(key: string): Promise<SlotMove>;
  /** Makes a replica of the primary that has the key take over, as an operator would. Resolves to the new primary. */
  failOver(key: string): Promise<RedisServer>;
}

export interface SlotMove {
  /** Resolves to the new primary. */
  finish(): Promise<RedisServer>;
}

/** Resolves when all nodes agree that all slots are served. */
export async function startCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  const { primaries = 3, replicas = 0, names = false, ...given } = options;
  await using stack = new AsyncDisposableStack();
  const own = names ? { ...given, ...(await named(stack)) } : given;
  const servers: RedisServer[] = [];
  for (let i = 0; i < primaries * (1 + replicas); i++)
    servers.push(stack.use(await startNode(own, replicas)));
  const admins = servers.map((server) => server.client());
  await meet(servers, admins);
  for (const [i, admin] of admins.slice(0, primaries).entries()) {
    const at = (n: number): number => Math.round((n * SLOTS) / primaries);
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', at(i), at(i + 1) - 1);
  }
  const ids = await Promise.all(admins.map(async (admin) => String(await admin.call('CLUSTER', 'MYID'))));
  for (const [i, admin] of admins.entries())
    if (i >= primaries) await eventually(() => admin.call('CLUSTER', 'REPLICATE', ids[i % primaries] ?? ''));
  const parts = { servers, admins, ids, primaries, add };
  await allAgree(parts);
  const disposables = stack.move();

  async function add(): Promise<number> {
    const server = disposables.use(await startNode(own, replicas));
    const admin = server.client();
    const [first] = servers as [RedisServer];
    const [, busPort = ''] = await (admins[0] as Redis).config('GET', 'cluster-port');
    await admin.call('CLUSTER', 'MEET', first.host, first.port, busPort);
    servers.push(server);
    admins.push(admin);
    ids.push(String(await admin.call('CLUSTER', 'MYID')));
    await eventually(async () => {
      for (const one of admins) {
        const info = String(await one.call('CLUSTER', 'INFO'));
        expect(info).toContain(`cluster_known_nodes:${servers.length}`);
        // until then a new node accepts no keys
        expect(info).toContain('cluster_state:ok');
      }
    });
    return servers.length - 1;
  }
  return {
    ...handleOf(parts, names ? appAddress(servers) : (servers[0]?.address ?? {})),
    [Symbol.asyncDispose]: () => disposables.disposeAsync(),
  };
}

/** The nodes' certificates are for `localhost` alone, the one name that resolves everywhere. */
async function named(
  stack: AsyncDisposableStack,
): Promise<Pick<RedisServerOptions, 'tls' | 'tlsFrom' | 'args'>> {
  const tlsFrom = await mkdtemp(join(tmpdir(), 'millrace-names-'));
  stack.defer(() => rm(tlsFrom, { recursive: true }));
  await makeCertificates(tlsFrom, 'DNS:localhost');
  const announced = [
    '--cluster-announce-hostname',
    'localhost',
    '--cluster-preferred-endpoint-type',
    'hostname',
  ];
  const user = ['--user', 'app', 'on', '>secret', '~*', '&*', '+@all'];
  return { tls: 'server', tlsFrom, args: ['--tls-cluster', 'yes', ...announced, ...user] };
}

function appAddress(servers: readonly RedisServer[]): RedisAddress {
  const tls = { ca: servers[0]?.address.tls?.ca };
  const nodes = servers.map(({ port }) => `localhost:${port}`);
  return { cluster: { nodes }, username: 'app', password: 'secret', tls };
}

interface Parts {
  readonly servers: RedisServer[];
  readonly admins: Redis[];
  readonly ids: string[];
  readonly primaries: number;
  /** Resolves to the place of a new node, which all know. */
  add(): Promise<number>;
}

async function startNode(
  own: Omit<ClusterOptions, 'primaries' | 'replicas' | 'names'> &
    Pick<RedisServerOptions, 'args' | 'tlsFrom'>,
  replicas: number,
): Promise<RedisServer> {
  // a node that a busy machine leaves without time is not to count as failed; a test that lets one fail waits for this
  const timeoutMs = replicas > 0 ? '5000' : '15000';
  const args = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    timeoutMs,
    '--cluster-port',
    `${await freePort()}`,
  ];
  const secured = own.password === undefined ? [] : ['--masterauth', own.password];
  return await startRedis({ ...own, args: [...args, ...secured, ...(own.args ?? [])] });
}

async function meet(servers: readonly RedisServer[], admins: readonly Redis[]): Promise<void> {
  const [first] = admins;
  for (const [i, { host, port }] of servers.entries()) {
    if (i === 0) continue;
    const [, busPort = ''] = await (admins[i] as Redis).config('GET', 'cluster-port');
    await first?.call('CLUSTER', 'MEET', host, port, busPort);
  }
  await eventually(async () => {
    for (const admin of admins)
      expect(String(await admin.call('CLUSTER', 'INFO'))).toContain(`cluster_known_nodes:${servers.length}`);
  });
}

async function allAgree({ admins, primaries }: Pick<Parts, 'admins' | 'primaries'>): Promise<void> {
  await eventually(async () => {
    for (const admin of admins) {
      const info = String(await admin.call('CLUSTER', 'INFO'));
      expect(info).toContain('cluster_state:ok');
      expect(info).toContain(`cluster_size:${primaries}`);
    }
  });
}

function handleOf(parts: Parts, first: RedisAddress): Omit<RedisCluster, typeof Symbol.asyncDispose> {
  const { servers, admins, ids } = parts;
  const { url: _, ...rest } = first;
  const nodes = servers.map(({ host, port }) => `${host}:${port}`);

  async function ownerIndex(key: string): Promise<number> {
    const slot = calculateSlot(key);
    for (const admin of admins) {
      const ranges = await admin.call('CLUSTER', 'SLOTS').catch(() => []);
      const range = (ranges as [number, number, [string, number]][]).find(
        ([from, to]) => from <= slot && slot <= to,
      );
      const port = range?.[2][1];
      if (port !== undefined) return servers.findIndex((server) => server.port === port);
    }
    throw new Error(`no node serves slot ${slot}`);
  }

  async function beginMove(key: string): Promise<SlotMove> {
    return await beginMoveTo(key, ((await ownerIndex(key)) + 1) % parts.primaries);
  }

  async function beginMoveTo(key: string, to: number): Promise<SlotMove> {
    const slot = String(calculateSlot(key));
    const from = await ownerIndex(key);
    const [source, target] = [admins[from] as Redis, admins[to] as Redis];
    await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from] ?? '');
    await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to] ?? '');
    const migrate = async (): Promise<void> => {
      const { host, port, address } = servers[to] as RedisServer;
      const auth = address.password === undefined ? [] : ['AUTH', address.password];
      for (;;) {
        const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, '100')) as string[];
        if (keys.length === 0) return;
        await source.call('MIGRATE', host, port, '', '0', '5000', ...auth, 'KEYS', ...keys);
      }
    };
    await migrate();
    return {
      finish: async () => {
        await migrate();
        for (const admin of [target, source, ...admins])
          await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to] ?? '').catch(() => undefined);
        return servers[to] as RedisServer;
      },
    };
  }

  return {
    servers,
    address: { cluster: { nodes }, ...rest },
    ownerOf: async (key) => servers[await ownerIndex(key)] as RedisServer,
    replicaOf: async (primary) => {
      const id = ids[servers.indexOf(primary)];
      const at = await findIndex(admins, async (admin) => (await masterOf(admin)) === id);
      if (at < 0) throw new Error(`the primary at ${primary.port} has no replica`);
      return servers[at] as RedisServer;
    },
    clientOf: async (key) => (servers[await ownerIndex(key)] as RedisServer).client(),
    beginMove,
    joinFor: async (key) => await (await beginMoveTo(key, await parts.add())).finish(),
    dropOwnerOf: async (key) => {
      const gone = await ownerIndex(key);
      await (await beginMoveTo(key, 0)).finish();
      const [server, id = ''] = [servers[gone] as RedisServer, ids[gone]];
      for (const list of [servers, admins, ids]) list.splice(gone, 1);
      for (const admin of admins) await admin.call('CLUSTER', 'FORGET', id);
      await server.kill();
    },
    moveSlot: async (key) => await (await beginMove(key)).finish(),
    failOver: async (key) => {
      const id = ids[await ownerIndex(key)] ?? '';
      const replica = await eventually(async () => {
        const at = await findIndex(admins, async (admin) => (await masterOf(admin)) === id);
        expect(at).toBeGreaterThanOrEqual(0);
        return at;
      });
      // one that comes too early is given up by the replica
      await eventually(
        async () => {
          if ((await ownerIndex(key)) === replica) return;
          await admins[replica]?.call('CLUSTER', 'FAILOVER');
          throw new Error('the replica has not taken over yet');
        },
        { everyMs: 1_000 },
      );
      return servers[replica] as RedisServer;
    },
  };
}

async function findIndex(
  admins: readonly Redis[],
  isWanted: (admin: Redis) => Promise<boolean>,
): Promise<number> {
  return (await Promise.all(admins.map(isWanted))).indexOf(true);
}

/** The id of the node whose replica this one is. */
async function masterOf(admin: Redis): Promise<string | undefined> {
  const nodes = String(await admin.call('CLUSTER', 'NODES'));
  return /myself,slave (\w+)/.exec(nodes)?.[1];
}
