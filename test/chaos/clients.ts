/**
 * The clients of a run: the queue library, and a plain one that knows `LPUSH` and `HGET`. Both push again what was not
 * answered, or not confirmed by replicas, as clients do: then a task may be there twice, which is no loss. Some results are
 * waited for while the run goes on.
 */
import type { Redis } from 'ioredis';
import { setTimeout as delay } from 'node:timers/promises';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import type { Durability } from '../../queue/connection/durability.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { openQueue, TaskFailed } from '../../queue/queue.ts';
import { openBatchClients, type BatchClients, type PartitionedQueue } from './batch-clients.ts';
import { openPlainClient } from './plain-client.ts';
import type { Round } from './plan.ts';
import type { Task } from './tasks.ts';

export interface Clients extends AsyncDisposable {
  readonly batches: BatchClients;
  /** Pushes that failed, or were not confirmed, and were made again. */
  readonly pushedAgain: number;
  push(wave: Pick<Round, 'tasks' | 'client' | 'batches'>): Promise<void>;
  /**
   * Resolves when all that is waited for has come, or `ms` are over; to what was wrong with it. `except`: ids that a server
   * forgot, whose results nobody can expect.
   */
  complaints(ms: number, except?: ReadonlySet<string>): Promise<string[]>;
}

export interface ClientOptions {
  readonly address: RedisAddress;
  /** Of each push. */
  readonly durability?: Durability;
  /** With one result hash, or the partitions of `whole`. */
  readonly queues: readonly QueueKeys[];
  readonly whole?: PartitionedQueue | undefined;
  /** Ids that a plain worker took: it fails nothing, so their ends are as good as any. */
  readonly plain: readonly string[];
  /** Folder of the ledger, in which clients of batches let tasks succeed. */
  readonly ledger: string;
}

const CHUNK = 200;
/** One result in so many is waited for, and as many of a large wave as of one of this size. */
const WAIT_FOR_ONE_IN = 20;
const USUAL_WAVE = 1_500;
const PLAIN_POLL_MS = 200;
const PLAIN_MS = 4_000;

export function openClients({ address, durability, queues, whole, plain, ledger }: ClientOptions): Clients {
  const durable = durability ? { durability } : {};
  const lanes = queues.map((keys) => ({
    keys,
    queue: openQueue({
      redis: address,
      ...(whole ?? { queue: keys.queue, result: keys.result }),
      ...durable,
    }),
  }));
  const plainClient = openPlainClient(address, durability);
  const batches = openBatchClients({ address, durability, queues, whole, plainClient, ledger });
  const waits: { readonly id: string; readonly ended: Promise<void> }[] = [];
  const wrong: string[] = [];
  /** Ids that got a result though their tasks fail; that a plain worker took them is known only when it has ended. */
  const unexpected: string[] = [];
  /** Ids whose results never came. */
  const vain: string[] = [];
  const closing = new AbortController();
  let pushedAgain = 0;

  const laneOf = (task: Task): (typeof lanes)[number] => lanes[task.queue] as (typeof lanes)[number];

  async function pushPart(tasks: readonly Task[], client: Round['client']): Promise<void> {
    for (const [lane, mine] of Map.groupBy(tasks, laneOf)) await pushTo(lane, mine, client);
  }

  async function pushTo(
    { queue, keys }: (typeof lanes)[number],
    tasks: readonly Task[],
    client: Round['client'],
  ): Promise<void> {
    const at = tasks.filter(({ delayMs }) => client === 'plain' || delayMs === 0).flatMap(copiesOf);
    const later = tasks.filter(({ delayMs }) => client === 'library' && delayMs > 0);
    if (client === 'plain') await untilTaken(() => plainClient.push(keys.queue, at));
    else {
      if (at.length > 0) await untilTaken(() => queue.enqueueMany(at));
      await Promise.all(later.map(({ raw, delayMs }) => untilTaken(() => queue.enqueue(raw, { delayMs }))));
    }
  }

  async function expectResult(task: Task, client: Round['client']): Promise<void> {
    const { id, outcome } = task;
    const { queue, keys } = laneOf(task);
    try {
      if (client === 'plain')
        while ((await plainClient.result(keys.result, id)) === null) await pause(PLAIN_POLL_MS);
      else await queue.result(id, { signal: closing.signal });
      if (outcome === 'dead') unexpected.push(id);
    } catch (error) {
      if (closing.signal.aborted) vain.push(id);
      else if (!(error instanceof TaskFailed)) wrong.push(`waiting for ${id}: ${(error as Error).message}`);
      else if (outcome === 'result') wrong.push(`a client was told that ${id} failed, which it does not`);
    }
  }

  /** Again and again: a client that was told of an error cannot know whether its push was done. */
  async function untilTaken(push: () => Promise<unknown>): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await push();
        return;
      } catch {
        pushedAgain++;
        await delay(50);
      }
    }
  }

  const pause = (ms: number): Promise<void> => delay(ms, undefined, { signal: closing.signal });

  return {
    batches,
    get pushedAgain() {
      return pushedAgain;
    },
    push: async ({ tasks, client, batches: begun }) => {
      for (const plan of begun) batches.begin(plan);
      for (let from = 0; from < tasks.length; from += CHUNK)
        await pushPart(tasks.slice(from, from + CHUNK), client);
      const oneIn = Math.max(WAIT_FOR_ONE_IN, Math.ceil((WAIT_FOR_ONE_IN * tasks.length) / USUAL_WAVE));
      for (const [i, task] of tasks.entries())
        if (i % oneIn === 0 && (client === 'library' || task.outcome === 'result'))
          waits.push({ id: task.id, ended: expectResult(task, client) });
    },
    complaints: async (ms, except = new Set()) => {
      const expected = waits.filter(({ id }) => !except.has(id)).map(({ ended }) => ended);
      await Promise.race([Promise.all(expected), pause(ms)]);
      closing.abort();
      await Promise.all(waits.map(({ ended }) => ended));
      const missing = vain.filter((id) => !except.has(id));
      const wrongly = unexpected.filter((id) => !plain.includes(id));
      return [
        ...wrong,
        ...wrongly.map((id) => `a client got a result of ${id}, which fails`),
        ...missing.map((id) => `a client waited for the result of ${id} in vain`),
      ];
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await batches[Symbol.asyncDispose]();
      await Promise.all([...lanes.map(({ queue }) => queue.close()), plainClient[Symbol.asyncDispose]()]);
      await Promise.all(waits.map(({ ended }) => ended));
    },
  };
}

const copiesOf = ({ raw, copies }: Task): string[] => Array.from({ length: copies }, () => raw);

/** What a plain worker writes for each task. */
export const PLAIN_RESULT = 'by a plain worker';

/** A worker as people write it in five lines: takes `count` tasks, one by one, for a while at most. Returns them. */
export async function runPlainWorker(
  redis: Redis,
  keys: QueueKeys,
  count: number,
  idOf: (raw: string) => string,
): Promise<{ readonly id: string; readonly raw: string }[]> {
  const taken: { readonly id: string; readonly raw: string }[] = [];
  const until = performance.now() + PLAIN_MS;
  while (taken.length < count && performance.now() < until) {
    const popped = await redis.brpop(keys.queue, 1);
    if (popped === null) continue;
    const [, raw] = popped;
    const id = idOf(raw);
    taken.push({ id, raw });
    await redis.hset(keys.result, id, PLAIN_RESULT);
  }
  return taken;
}
