/**
 * The clients that begin batches in a run, and who looks after them as a person would: cancels some half-way, requeues or drops the dead
 * letters that a batch waits for, and begins a batch again under another id if its client was told of an error, or Redis forgot it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { closeRedis, openRedis, type RedisAddress } from '../../queue/connection/connection.ts';
import type { Durability } from '../../queue/connection/durability.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';
import { BatchCancelled, nested, openQueue, type BatchView, type Queue } from '../../queue/queue.ts';
import type { BatchTry } from './batch-check.ts';
import { nameBatch, plainTasks, withInner, type BatchPlan } from './batch-plan.ts';
import { allow } from './ledger.ts';
import type { PlainClient } from './plain-client.ts';

export interface BatchClients extends AsyncDisposable {
  readonly tries: readonly BatchTry[];
  begin(plan: BatchPlan): void;
  /** Whether all that were begun are over, and Redis has not forgotten it since; asked again when it is not so. */
  areOver(): Promise<boolean>;
}

/** Names of a queue, without the number of a partition. */
export interface PartitionedQueue {
  readonly queue: string;
  readonly result: string;
  readonly partitions: number;
}

export interface BatchClientOptions {
  readonly address: RedisAddress;
  readonly durability?: Durability | undefined;
  readonly queues: readonly QueueKeys[];
  /** Which these are the partitions of. */
  readonly whole?: PartitionedQueue | undefined;
  readonly plainClient: PlainClient;
  /** Folder of the ledger. */
  readonly ledger: string;
}

const LOOK_MS = 500;
const CHUNK = 200;
/** A plain client that has seen nothing of its batch for so long, in an empty queue, pushes it once more, ms. */
const PATIENCE_MS = 6_000;
const OVER: ReadonlySet<string> = new Set(['ended', 'failed', 'cancelled']);

export function openBatchClients(options: BatchClientOptions): BatchClients {
  const { address, durability, queues, whole, plainClient, ledger } = options;
  const lists = queues.map((keys) => {
    const { address: where, keys: own } = locationOf(address, keys);
    return { keys, own, redis: openRedis(where, { onError: () => undefined }) };
  });
  const lanes = lists.map((list) => {
    const { queue, result } = list.keys;
    const about = { redis: address, ...(whole ?? { queue, result }), ...(durability && { durability }) };
    return { keys: list.keys, lists: whole ? lists : [list], queue: openQueue(about) };
  });
  type Lane = (typeof lanes)[number];
  const tries: BatchTry[] = [];
  const closing = new AbortController();
  const lives = new Set<Promise<void>>();

  const pause = (ms: number): Promise<void> =>
    delay(ms, undefined, { signal: closing.signal }).catch(() => undefined);

  /** Again and again, until Redis has answered; `undefined` when the run is over before that. */
  async function insist<T>(work: () => Promise<T>): Promise<T | undefined> {
    while (!closing.signal.aborted) {
      try {
        return await work();
      } catch {
        await pause(50);
      }
    }
    return undefined;
  }

  /** `one`: it was begun before, and Redis may have forgotten since that it was over. */
  async function live(plan: BatchPlan, one?: BatchTry): Promise<void> {
    const lane = lanes[plan.queue] as Lane;
    if (one && (await endOf(lane, one))) return;
    while (!closing.signal.aborted) {
      const next = await tryAgain(lane, plan);
      if (await endOf(lane, next)) return;
    }
  }

  async function tryAgain(lane: Lane, plan: BatchPlan): Promise<BatchTry> {
    const number = tries.filter((one) => one.plan === plan).length;
    const id = number === 0 ? plan.id : `${plan.id}~${number}`;
    const one: BatchTry = { plan, id, cancelled: false, abandoned: undefined, pushedAgain: 0 };
    tries.push(one);
    const cancelling = cancelLater(lane, one);
    one.abandoned = await (plan.client === 'plain' ? pushPlain(lane, one) : pushBatch(lane, one));
    one.abandoned ??= await follow(lane, one);
    await cancelling;
    return one;
  }

  /** Resolves when it is over, to whether that is the end; otherwise it has to be begun again. */
  async function endOf(lane: Lane, one: BatchTry): Promise<boolean> {
    one.abandoned ??= await follow(lane, one);
    if (one.abandoned === undefined) return true;
    await insist(() => lane.queue.batch.cancel(one.id));
    await follow(lane, one);
    return false;
  }

  async function cancelLater({ queue }: Lane, one: BatchTry): Promise<void> {
    if (one.plan.cancelAfterMs === undefined) return;
    await pause(one.plan.cancelAfterMs);
    one.cancelled = true;
    // what is not there yet cannot be cancelled
    while ((await insist(() => queue.batch.cancel(one.id))) === 'unknown' && one.abandoned === undefined)
      await pause(LOOK_MS);
  }

  /** Resolves to why it has to be begun again. */
  async function pushBatch({ queue }: Lane, { plan, id }: BatchTry): Promise<string | undefined> {
    try {
      await queue.batch(tasksOf(plan), { id, then: { joins: true }, onFailure: plan.onFailure });
      return undefined;
    } catch (error) {
      return error instanceof BatchCancelled ? undefined : (error as Error).message;
    }
  }

  async function pushPlain({ keys }: Lane, { plan, id }: BatchTry): Promise<undefined> {
    const tasks = plainTasks(nameBatch(plan, id));
    for (let from = 0; from < tasks.length; from += CHUNK)
      for (let copy = 0; copy < plan.copies; copy++)
        await insist(() => plainClient.push(keys.queue, tasks.slice(from, from + CHUNK)));
  }

  /** Resolves when it is over, to nothing; or to why it has to be begun again. */
  async function follow(lane: Lane, one: BatchTry): Promise<string | undefined> {
    const { plan, id } = one;
    const quiet = createQuiet();
    while (!closing.signal.aborted) {
      const view = await insist(async () => (await lane.queue.batch.show(id)) ?? null);
      if (view && OVER.has(view.state)) return undefined;
      if (one.abandoned !== undefined && !view) return undefined;
      const isMissing = !view || view.state === 'adding';
      if (isMissing && plan.client === 'library' && !durability && one.abandoned === undefined)
        return 'Redis forgot parts of it, or all';
      if (plan.client === 'plain' && !durability && quiet(view) && (await isEmpty(lane))) {
        one.pushedAgain++;
        await pushPlain(lane, one);
      }
      await settleDead(lane, one).catch(() => undefined);
      // cancelled and then forgotten
      if (view && (one.cancelled || one.abandoned !== undefined))
        await lane.queue.batch.cancel(id).catch(() => undefined);
      await pause(LOOK_MS);
    }
    return undefined;
  }

  async function isEmpty({ lists: mine }: Lane): Promise<boolean> {
    const lengths = mine.map(async ({ redis, own }) => await insist(() => redis.llen(own.queue)));
    return (await Promise.all(lengths)).every((length) => length === 0);
  }

  /** Requeues what may succeed now, and drops the rest. */
  async function settleDead({ lists: mine, queue }: Lane, { plan, id }: BatchTry): Promise<void> {
    for (const batch of withInner(nameBatch(plan, id))) {
      if (batch.plan.onFailure !== 'wait') continue;
      const members = mine.map(({ redis, own }) => redis.smembers(own.batchFailed(batch.id)));
      const failed = new Set((await Promise.all(members)).flat());
      const mended = batch.parts.filter((part) => failed.delete(part.id) && !part.order?.final);
      for (const { id: part } of mended) allow(ledger, part);
      const dropped = batch.parts.filter(({ order }) => order?.final).map((part) => part.id);
      if (mended.length > 0) await queue.dead.requeue({ ids: mended.map((part) => part.id) });
      if (dropped.length > 0) await queue.dead.drop({ ids: [...dropped, ...failed] });
    }
  }

  function begin(plan: BatchPlan, one?: BatchTry): void {
    const living = live(plan, one).finally(() => lives.delete(living));
    lives.add(living);
  }

  return {
    tries,
    begin,
    areOver: async () => {
      if (lives.size > 0) return false;
      for (const one of new Map(tries.map((last) => [last.plan, last])).values()) {
        const { queue } = lanes[one.plan.queue] as Lane;
        const view = await insist(() => queue.batch.show(one.id));
        if (!view || !OVER.has(view.state)) begin(one.plan, one);
      }
      return lives.size === 0;
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await Promise.all(lanes.map(({ queue }: { queue: Queue }) => queue.close()));
      await Promise.all(lives);
      await Promise.all(lists.map(({ redis }) => closeRedis(redis)));
    },
  };
}

/** Returns whether nothing has changed for long, each time it is told what there is. */
function createQuiet(): (view: BatchView | null | undefined) => boolean {
  let last = '';
  let since = performance.now();
  return (view) => {
    const now = JSON.stringify(view ?? null);
    if (now !== last) [last, since] = [now, performance.now()];
    const isQuiet = performance.now() - since > PATIENCE_MS;
    if (isQuiet) since = performance.now();
    return isQuiet;
  };
}

function tasksOf({ parts }: BatchPlan): unknown[] {
  return parts.map((part) =>
    'parts' in part
      ? nested(tasksOf(part), { then: { joins: true }, onFailure: part.onFailure })
      : { ...part },
  );
}
