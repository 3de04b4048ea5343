/**
 * A network that parts a primary from its replicas and all sentinels, while clients and workers go on at the old primary and others
 * begin at the new one: once with `durability: { replicas: 1 }` for all of them, and once without.
 *
 * In the end, what was acknowledged with durability is done, each result is that of its task, and nothing is left in flight. Without it,
 * what the old primary acknowledged meanwhile is forgotten: that is counted.
 *
 * The network is parted by a user: sentinels and replicas log in as one who is refused for that time.
 */
import { table } from '../../cli/terminal/table.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { NotReplicated, type Durability } from '../../queue/connection/durability.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { openQueue } from '../../queue/queue.ts';
import { sleep } from '../../runtime/timers.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startSentinels } from '../support/sentinel.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker, type TestWorker } from '../support/workers.ts';

const NAME = 'main';
const GUARDS = { name: 'guards', password: 'theirs' };
const PASSWORD = 'of-the-clients';
const DOWN_AFTER_MS = 5_000;
const CALM_MS = 5_000;
const SETTLE_MS = 180_000;
const TASK_MS = 100;
const PUSH_EVERY_MS = 20;
/** The default of workers. */
const LEASE_MS = 15_000;
const DURABILITY: Durability = { replicas: 1, timeoutMs: 1_000 };

export interface SplitOutcome {
  readonly durable: boolean;
  /** Tasks pushed by the clients of the old and of the new primary, and those of them whose push was acknowledged as asked. */
  readonly pushed: readonly [old: number, next: number];
  readonly acknowledged: readonly [old: number, next: number];
  /** Acknowledged, and without a result in the end. */
  readonly forgotten: number;
  readonly results: number;
  /** Runs beyond the first of each task. */
  readonly repeats: number;
  /** Until nothing waited or ran any more, from when the network was whole again, ms. */
  readonly settledMs: number;
  readonly violations: readonly string[];
}

const resultOf = (id: string): string => `did ${id}`;

interface Client {
  readonly pushed: readonly string[];
  readonly acknowledged: readonly string[];
  stop(): Promise<void>;
}

function startClient(
  redis: RedisAddress,
  { queue, result }: QueueKeys,
  prefix: string,
  durability?: Durability,
): Client {
  const opened = openQueue({ redis, queue, result, ...(durability && { durability }) });
  const pushed: string[] = [];
  const acknowledged: string[] = [];
  let over = false;
  const ended = (async () => {
    for (let i = 0; !over; i++) {
      const id = `${prefix}-${i}`;
      pushed.push(id);
      try {
        await opened.enqueue(id);
        acknowledged.push(id);
      } catch (error) {
        if (!(error instanceof NotReplicated)) throw error;
      }
      await sleep(PUSH_EVERY_MS);
    }
  })();
  ended.catch(() => undefined);
  return {
    pushed,
    acknowledged,
    stop: async () => {
      over = true;
      await ended;
      await opened.close();
    },
  };
}

/** Plays both, at the same time. */
export async function runSplit(forMs: number, say: (line: string) => void): Promise<SplitOutcome[]> {
  return await Promise.all([true, false].map((durable) => play(forMs, durable, say)));
}

async function letIn(server: RedisServer): Promise<void> {
  await server.client().call('ACL', 'SETUSER', GUARDS.name, 'on', `>${GUARDS.password}`, '~*', '&*', '+@all');
}

async function play(forMs: number, durable: boolean, say: (line: string) => void): Promise<SplitOutcome> {
  const name = durable ? 'with durability' : 'without durability';
  const settings = ['--masteruser', GUARDS.name, '--masterauth', GUARDS.password];
  const args = [...settings, '--repl-diskless-sync-delay', '0'];
  await using first = await startRedis({ args, password: PASSWORD });
  await letIn(first);
  const following = [...args, '--replicaof', first.host, String(first.port)];
  await using second = await startRedis({ args: following, password: PASSWORD });
  await using third = await startRedis({ args: following, password: PASSWORD });
  const servers = [first, second, third];
  for (const server of [second, third]) await letIn(server);
  const guards = { downAfterMs: DOWN_AFTER_MS, user: GUARDS, replicas: 2 };
  await using sentinels = await startSentinels(first, NAME, guards);
  const address = { sentinel: { name: NAME, nodes: sentinels.nodes }, password: PASSWORD };
  const keys = freshKeys();
  const durability = durable ? DURABILITY : undefined;
  const runs = new Map<string, number>();
  await using workers = new AsyncDisposableStack();
  const handler = async (task: unknown): Promise<string> => {
    const id = String(task);
    runs.set(id, (runs.get(id) ?? 0) + 1);
    await sleep(TASK_MS);
    return resultOf(id);
  };
  const hire = async (id: string): Promise<void> => {
    const how = { id, handler, concurrency: 5, leaseMs: LEASE_MS, ...(durability && { durability }) };
    const worker: TestWorker = workers.use(startWorker({ address }, keys, how));
    await worker.ready();
  };
  for (const id of ['old-one', 'old-two']) await hire(id);
  const old = startClient(address, keys, 'old', durability);
  await sleep(CALM_MS);

  say(`${name}: the primary is parted from sentinels and replicas`);
  const apartSince = performance.now();
  const admin = first.client();
  await admin.call('ACL', 'SETUSER', GUARDS.name, 'off');
  await admin.call('CLIENT', 'KILL', 'USER', GUARDS.name);
  const roles = await eventually(() => newPrimary(servers), { withinMs: 60_000 });
  await sentinels.agreeOn(roles);
  const [tookMs, atFirst] = [performance.now() - apartSince, old.acknowledged.length];
  say(`${name}: another one took over after ${(tookMs / 1_000).toFixed(1)} s`);
  const next = startClient(address, keys, 'new', durability);
  for (const id of ['new-one', 'new-two']) await hire(id);
  await sleep(Math.max(0, forMs - (performance.now() - apartSince)));

  say(
    `${name}: the network is whole again, ${old.acknowledged.length - atFirst} acknowledged at the old one since`,
  );
  const healedAt = performance.now();
  await letIn(first);
  // a sentinel whose password was refused keeps that connection for ever
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await eventually(async () => expectRole(first, 'slave'), { withinMs: SETTLE_MS });
  await sleep(CALM_MS);
  await Promise.all([old.stop(), next.stop()]);
  const redis = roles.client();
  const violations: string[] = [];
  await eventually(
    async () => {
      const { waiting, inFlight, delayed, dead } = await sampleQueue(redis, keys);
      const left = { waiting, inFlight, delayed, dead };
      if (Object.values(left).some((count) => count > 0)) throw new Error(`left: ${JSON.stringify(left)}`);
    },
    { withinMs: SETTLE_MS, everyMs: 100 },
  ).catch((error: Error) => void violations.push(error.message));
  const settledMs = performance.now() - healedAt;
  const results = await redis.hgetall(keys.result);
  for (const [id, value] of Object.entries(results))
    if (value !== resultOf(id)) violations.push(`the result of ${id} is ${value}`);
  const forgotten = [...old.acknowledged, ...next.acknowledged].filter((id) => !(id in results));
  if (durable)
    for (const id of forgotten) violations.push(`${id} was confirmed by a replica, and is not done`);
  const byTheNew = next.acknowledged.filter((id) => !(id in results));
  if (!durable)
    for (const id of byTheNew) violations.push(`${id} was acknowledged by the new primary, and is not done`);
  return {
    durable,
    pushed: [old.pushed.length, next.pushed.length],
    acknowledged: [old.acknowledged.length, next.acknowledged.length],
    forgotten: forgotten.length,
    results: Object.keys(results).length,
    repeats: [...runs.values()].reduce((sum, times) => sum + times - 1, 0),
    settledMs: Math.round(settledMs),
    violations,
  };
}

async function expectRole(server: RedisServer, role: string): Promise<void> {
  if (!(await server.client().info('replication')).includes(`role:${role}`))
    throw new Error(`it is no ${role}`);
}

/** The one of the replicas that has taken over. */
async function newPrimary([, ...replicas]: readonly RedisServer[]): Promise<RedisServer> {
  for (const server of replicas) {
    const found = await server.client().info('replication');
    if (found.includes('role:master')) return server;
  }
  throw new Error('none has taken over');
}

export function splitText(outcomes: readonly SplitOutcome[]): string {
  const head = [
    '',
    'PUSHED OLD/NEW',
    'ACKNOWLEDGED',
    'DONE',
    'FORGOTTEN',
    'REPEATS',
    'SETTLED AFTER',
    'VIOLATIONS',
  ];
  const rows = outcomes.map(
    ({ durable, pushed, acknowledged, results, forgotten, repeats, settledMs, violations }) => [
      durable ? 'durability: { replicas: 1 }' : 'without',
      pushed.join('/'),
      acknowledged.join('/'),
      results,
      forgotten,
      repeats,
      `${(settledMs / 1_000).toFixed(1)} s`,
      violations.length,
    ],
  );
  const broken = outcomes.flatMap(({ violations }) => violations.slice(0, 20));
  return `${table(head, rows)}${broken.map((line) => `${line}\n`).join('')}`;
}
