/**
 * What real sentinels do to a busy queue, with plain clients and our workers: a planned failover, a frozen primary that comes back, a
 * split in which both primaries take writes, a primary that is back with older data before anyone noticed.
 *
 * A client pushes with LPUSH and asks with WAIT whether the replica has it, and another one reads results with HGET. What the replica had
 * confirmed is done in the end; the rest is done or was forgotten by Redis. Each result belongs to its task, also each that was read
 * meanwhile, and nothing is left in flight.
 */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { closeRedis, openRedis, within, type RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startSentinels, type Sentinels } from '../support/sentinel.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker, type TestWorker } from '../support/workers.ts';

const NAME = 'main';
/** As whom the sentinels, and the replica, connect: what a network may part from the clients of a server is told by the user. */
const GUARDS = { name: 'guards', password: 'theirs' };
const password = 'of-the-clients';
const REPLICATION = ['--masteruser', GUARDS.name, '--masterauth', GUARDS.password];
const SETTINGS = [...REPLICATION, '--repl-diskless-sync-delay', '0'];

interface Scene {
  readonly first: RedisServer;
  readonly second: RedisServer;
  readonly sentinels: Sentinels;
  readonly load: Load;
}

interface Load {
  /** Tasks that Redis acknowledged, in order. */
  readonly acknowledged: readonly string[];
  /** Those of them that the replica had as well. */
  readonly confirmed: ReadonlySet<string>;
  /** Resolves when so many more were acknowledged. */
  more(tasks: number): Promise<void>;
  /** Resolves when the last task that was pushed has been answered. */
  stop(): Promise<void>;
}

/** A plain client, about fifty tasks a second. */
function startLoad(address: RedisAddress, { queue }: QueueKeys): Load {
  const redis = openRedis(address);
  const acknowledged: string[] = [];
  const confirmed = new Set<string>();
  let over = false;
  const ended = (async () => {
    for (let i = 0; !over; i++) {
      const id = `t${i}`;
      try {
        await within(1_000, redis.lpush(queue, id), 'LPUSH');
        acknowledged.push(id);
        const { stream } = redis;
        const replicas = await within(1_000, redis.wait(1, 200), 'WAIT');
        // on another connection, it would not be about this task
        if (replicas > 0 && redis.stream === stream) confirmed.add(id);
      } catch {
        // nobody knows what became of it
      }
      await new Promise((resolve) => void setTimeout(resolve, 20));
    }
  })();
  return {
    acknowledged,
    confirmed,
    more: (tasks) => {
      const until = acknowledged.length + tasks;
      return eventually(() => expect(acknowledged.length).toBeGreaterThanOrEqual(until));
    },
    stop: async () => {
      over = true;
      await ended;
      await closeRedis(redis);
    },
  };
}

interface Reader {
  /** Results that it read, by id. */
  readonly read: ReadonlyMap<string, string>;
  stop(): Promise<void>;
}

/** A plain client that looks at the results of the newest tasks, again and again, at whichever server it is connected to. */
function startReader(address: RedisAddress, { result }: QueueKeys, { acknowledged }: Load): Reader {
  const redis = openRedis(address);
  const read = new Map<string, string>();
  let over = false;
  const ended = (async () => {
    while (!over) {
      const newest = acknowledged.slice(-20);
      try {
        const values = await within(1_000, Promise.all(newest.map((id) => redis.hget(result, id))), 'HGET');
        for (const [i, id] of newest.entries()) {
          const value = values[i];
          // what is wrong once is wrong
          if (typeof value === 'string' && (read.get(id) ?? resultOf(id)) === resultOf(id))
            read.set(id, value);
        }
      } catch {
        // asked again in a moment
      }
      await new Promise((resolve) => void setTimeout(resolve, 50));
    }
  })();
  return {
    read,
    stop: async () => {
      over = true;
      await ended;
      await closeRedis(redis);
    },
  };
}

const resultOf = (id: string): string => `did ${id}`;

async function letIn(server: RedisServer): Promise<void> {
  await server.client().call('ACL', 'SETUSER', GUARDS.name, 'on', `>${GUARDS.password}`, '~*', '&*', '+@all');
}

/** Sentinels and replica reach this server no more, and its clients do. */
async function partFromGuards(server: RedisServer): Promise<void> {
  await server.client().call('ACL', 'SETUSER', GUARDS.name, 'off');
  await server.client().call('CLIENT', 'KILL', 'USER', GUARDS.name);
}

/** It takes writes no more: what is acknowledged from now on is known to the other one. */
async function demoted(server: RedisServer): Promise<void> {
  await eventually(async () => expect(await server.client().info('replication')).toContain('role:slave'));
}

interface Outcome {
  /** Whoever is the primary in the end. */
  readonly primary: Redis;
  /** Tasks that must be done. */
  readonly mustBeDone: Iterable<string>;
}

/** Runs it all, and judges what is left. */
async function expectSound(downAfterMs: number, happen: (scene: Scene) => Promise<Outcome>): Promise<void> {
  await using first = await startRedis({ args: SETTINGS, password });
  await letIn(first);
  const following = ['--replicaof', first.host, String(first.port)];
  await using second = await startRedis({ args: [...SETTINGS, ...following], password });
  await letIn(second);
  await eventually(async () =>
    expect(await second.client().info('replication')).toContain('master_link_status:up'),
  );
  await using sentinels = await startSentinels(first, NAME, { downAfterMs, user: GUARDS });
  const address = { sentinel: { name: NAME, nodes: sentinels.nodes }, password };
  const keys = freshKeys();
  await using workers = new AsyncDisposableStack();
  const team = ['one', 'two', 'three'].map((id): TestWorker => {
    const handler = async (task: unknown): Promise<string> => {
      await new Promise((resolve) => void setTimeout(resolve, 100));
      return resultOf(String(task));
    };
    return workers.use(startWorker({ address }, keys, { id, handler, concurrency: 5, leaseMs: 3_000 }));
  });
  await Promise.all(team.map((worker) => worker.ready()));
  const load = startLoad(address, keys);
  const reader = startReader(address, keys, load);
  try {
    await load.more(50);
    const { primary, mustBeDone } = await happen({ first, second, sentinels, load });
    await load.more(50);
    await load.stop();
    await eventually(async () =>
      expect(await sampleQueue(primary, keys)).toMatchObject({
        waiting: 0,
        inFlight: 0,
        delayed: 0,
        dead: 0,
      }),
    );
    const results = await primary.hgetall(keys.result);
    expect(reader.read.size).toBeGreaterThan(0);
    for (const [id, value] of [...Object.entries(results), ...reader.read]) expect(value).toBe(resultOf(id));
    expect([...mustBeDone].filter((id) => !(id in results))).toEqual([]);
    // those after it are proof that everybody has found the primary
    expect(load.acknowledged.slice(-40).filter((id) => !(id in results))).toEqual([]);
  } finally {
    await load.stop();
    await reader.stop();
  }
}

/** Shorter than the default of 30 s, and longer than a busy machine makes a server look down, ms. */
const DOWN_AFTER_MS = 5_000;
const NEVER_MS = 600_000;

test.concurrent('SENTINEL FAILOVER', () =>
  expectSound(NEVER_MS, async ({ first, second, sentinels, load }) => {
    await sentinels.failOver();
    await sentinels.agreeOn(second);
    await demoted(first);
    return { primary: second.client(), mustBeDone: load.confirmed };
  }));

test.concurrent('a primary that is frozen, and goes on when another one has taken over', () =>
  expectSound(DOWN_AFTER_MS, async ({ first, second, sentinels, load }) => {
    first.stop();
    try {
      await sentinels.agreeOn(second);
    } finally {
      first.cont();
    }
    await demoted(first);
    return { primary: second.client(), mustBeDone: load.confirmed };
  }));

// of more than two leases, as 40 s are of the default lease: until the sentinels have counted to `DOWN_AFTER_MS`, and for thirty tasks that wait
// for a replica in vain
test.concurrent('a split: the old primary goes on with clients and workers, until the sentinels reach it again', () =>
  expectSound(DOWN_AFTER_MS, async ({ first, second, sentinels, load }) => {
    await partFromGuards(first);
    await sentinels.agreeOn(second);
    // nobody has told them: these are acknowledged, and forgotten
    const apart = load.acknowledged.length;
    await load.more(30);
    expect([...load.confirmed].filter((id) => load.acknowledged.indexOf(id) > apart)).toEqual([]);
    await letIn(first);
    // a sentinel whose password was refused keeps that connection for ever, and says so nowhere
    await first.client().call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await demoted(first);
    return { primary: second.client(), mustBeDone: load.confirmed };
  }));

test.concurrent('a primary that is back with older data, before a sentinel has noticed', () =>
  expectSound(NEVER_MS, async ({ first, load }) => {
    await first.client().save();
    const known = [...load.confirmed];
    await load.more(50);
    await first.restart();
    // users are not part of the data
    await letIn(first);
    return { primary: first.client(), mustBeDone: known };
  }));
