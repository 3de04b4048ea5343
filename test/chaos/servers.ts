/**
 * The Redis of a run with takeovers: a primary and its replica with three sentinels, or a cluster of three primaries with a replica
 * each. One replica is all that a primary has, so what it confirmed is what the next primary has.
 *
 * Nothing is kept on disk: a primary that was killed comes back with nothing, as the replica of the one that took over. The next
 * takeover waits until it is in step.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startSentinels } from '../support/sentinel.ts';
import type { Kind, Takeover } from './takeover-plan.ts';

export interface Servers extends AsyncDisposable {
  readonly address: RedisAddress;
  readonly all: readonly Node[];
  /** Resolves when one of the two is the primary, as the replica was in between, and the other one its replica and in step. */
  takeOver(takeover: Takeover): Promise<void>;
}

/** With one connection for whatever is asked and ordered of it: `client()` opens a new one at each call. */
export interface Node extends RedisServer {
  readonly admin: Redis;
}

const withAdmin = (server: RedisServer): Node =>
  Object.assign(server, { admin: server.client({ retryStrategy: () => ADMIN_RETRY_MS }) });

/** How a replica is made to take over, and how it is known that all who decide about it agree. */
interface Rule {
  order(replica: Node): Promise<void>;
  /** `lost`: the old one, if it cannot be asked. */
  agreed(primary: Node, lost?: Node): Promise<void>;
}

const NAME = 'main';
const ADMIN_RETRY_MS = 50;
/** Longer than a busy machine makes a server look down, ms. */
const DOWN_AFTER_MS = 5_000;
/** More than an election that failed and is repeated takes, on a machine that is busy with other things. */
const PATIENCE = { withinMs: 300_000, everyMs: 50 };

export function startServers(kind: Kind): Promise<Servers> {
  return kind === 'sentinel' ? withSentinels() : inCluster();
}

async function withSentinels(): Promise<Servers> {
  await using stack = new AsyncDisposableStack();
  const args = ['--repl-diskless-sync-delay', '0'];
  const first = stack.use(await startRedis({ args }));
  const following = ['--replicaof', first.host, String(first.port)];
  const second = stack.use(await startRedis({ args: [...args, ...following] }));
  const sentinels = stack.use(await startSentinels(first, NAME, { downAfterMs: DOWN_AFTER_MS }));
  // A sentinel that a busy machine left without time (tilt) may end a failover of its own late, by naming the old primary, in the same
  // epoch in which the two others have named the new one. Then it keeps to that, and once the old primary is back, each server is made a
  // replica of the other, until the next election: it may name either.
  // After a restart, it is what its command line says until a sentinel tells it otherwise
  const rule: Rule = {
    order: () => sentinels.failOver(),
    agreed: (primary) => eventually(() => sentinels.expectMajority(primary), PATIENCE),
  };
  return serversOf(
    [first, second].map(withAdmin),
    { sentinel: { name: NAME, nodes: sentinels.nodes } },
    rule,
    stack.move(),
  );
}

async function inCluster(): Promise<Servers> {
  const cluster = await startCluster({ replicas: 1 });
  const all = cluster.servers.map(withAdmin);
  const rule: Rule = {
    order: async (replica) => {
      // one that comes too early is given up by the replica
      await eventually(
        async () => {
          if ((await roleOf(replica)).role === 'master') return;
          await replica.admin.call('CLUSTER', 'FAILOVER');
          throw new Error('the replica has not taken over yet');
        },
        { ...PATIENCE, everyMs: 1_000 },
      );
    },
    agreed: async (primary, lost) => {
      for (const server of all.filter((one) => one !== lost))
        await eventually(async () => {
          const nodes = String(await server.admin.call('CLUSTER', 'NODES'));
          if (!new RegExp(String.raw`:${primary.port}@\S+ (myself,)?master `).test(nodes))
            throw new Error(`the node at ${server.port} does not know the new primary`);
        }, PATIENCE);
    },
  };
  return serversOf(all, cluster.address, rule, cluster);
}

function serversOf(all: readonly Node[], address: RedisAddress, rule: Rule, owned: AsyncDisposable): Servers {
  return {
    address,
    all,
    takeOver: async (takeover) => {
      const [primary, replica] = await pairOf(all, takeover.which);
      // one that was never in step is not elected
      await inStep(replica, primary);
      if (takeover.how === 'ordered') await rule.order(replica);
      else await lose(primary, replica, takeover, rule);
      await eventually(async () => {
        const [now, other] =
          (await roleOf(primary)).role === 'master' ? [primary, replica] : [replica, primary];
        await expectInStep(other, now);
        await rule.agreed(now);
      }, PATIENCE);
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

/** The primary is gone until all agree on its replica. */
async function lose(
  primary: Node,
  replica: Node,
  takeover: Exclude<Takeover, { how: 'ordered' }>,
  rule: Rule,
): Promise<void> {
  if (takeover.how === 'frozen') {
    primary.stop();
    try {
      await promoted(replica);
      await rule.agreed(replica, primary);
    } finally {
      primary.cont();
    }
    return;
  }
  if (takeover.how === 'behind') {
    replica.stop();
    // what waits in a connection would reach the replica all the same
    await primary.admin.call('CLIENT', 'KILL', 'TYPE', 'replica');
    await delay(takeover.lagMs);
    await primary.kill();
    replica.cont();
  } else await primary.kill();
  await promoted(replica);
  await rule.agreed(replica, primary);
  await primary.start();
}

interface Role {
  readonly role: string;
  readonly masterPort: number;
  readonly inStep: boolean;
}

async function roleOf(server: Node): Promise<Role> {
  const info = await server.admin.info('replication');
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? '';
  return {
    role: field('role'),
    masterPort: Number(field('master_port')),
    inStep: field('master_link_status') === 'up' && field('master_sync_in_progress') === '0',
  };
}

/** A primary and its replica. */
async function pairOf(all: readonly Node[], which: number): Promise<[Node, Node]> {
  const roles = await Promise.all(all.map(async (server) => ({ server, ...(await roleOf(server)) })));
  const primaries = roles.filter(({ role }) => role === 'master');
  const { server: primary } = primaries[Math.floor(which * primaries.length)] as (typeof roles)[number];
  const replica = roles.find(({ masterPort }) => masterPort === primary.port);
  if (!replica) throw new Error(`the primary at ${primary.port} has no replica`);
  return [primary, replica.server];
}

async function promoted(server: Node): Promise<void> {
  await eventually(async () => {
    if ((await roleOf(server)).role !== 'master') throw new Error('the replica has not taken over yet');
  }, PATIENCE);
}

async function inStep(follower: Node, primary: Node): Promise<void> {
  await eventually(() => expectInStep(follower, primary), PATIENCE);
}

async function expectInStep(follower: Node, primary: Node): Promise<void> {
  const { role, masterPort, inStep: isInStep } = await roleOf(follower);
  if (role !== 'slave' || masterPort !== primary.port || !isInStep)
    throw new Error('the replica is not in step with its primary');
}
