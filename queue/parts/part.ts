/**
 * `queue/parts/` takes the keys of a queue's partitions and returns functions over all of them, as if they were one list. It does not
 * know what is a handle, nor how a result is waited for.
 *
 * One partition of a queue, as a client has it: its keys, where they are, and what is done in it alone. A queue that is not in
 * partitions is one of these.
 */
import type { Redis } from 'ioredis';
import { cancelTask } from '../cancel.ts';
import type { ClusterLinks } from '../connection/cluster/links.ts';
import type { RedisAddress } from '../connection/connection.ts';
import { awaitReplicas, type Durability } from '../connection/durability.ts';
import type { QueueKeys } from '../keys.ts';
import { locationOf } from '../location.ts';
import { createPusher, type Duplicates, type PushedLevel } from '../push.ts';
import type { HashPlace } from '../results/result-watches.ts';
import { openResults, type Results } from '../results/results.ts';
import { openRequests } from '../scripts/answers.ts';
import { defineScripts, script } from '../scripts/scripts.ts';
import { taskId, type EncodedTask } from '../task.ts';

export interface Part extends AsyncDisposable {
  readonly keys: QueueKeys;
  /** The same with a result hash in the queue's slot. */
  readonly own: QueueKeys;
  readonly redis: Redis;
  readonly results: Results;
  readonly resultHash: HashPlace;
  push(tasks: readonly EncodedTask[], delayMs: number | undefined): Promise<Duplicates>;
  /** Waits for replicas, if the client does: after tasks were enqueued. */
  confirmed(this: void, tasks: number): Promise<void>;
  cancel(id: string | Buffer): Promise<'marked' | 'finished'>;
  /** Whether the id has a result, or has failed for good or been cancelled. */
  hasEnded(id: string | Buffer): Promise<boolean>;
  /** Whether a task of that id is among those in flight, and the first thousands of those that are delayed or wait. */
  holds(id: string | Buffer): Promise<boolean>;
}

export interface PartOptions {
  readonly address: RedisAddress;
  readonly durability: Durability | undefined;
  /** Of a Redis Cluster. */
  readonly links: ClusterLinks | undefined;
  /** The connection to a single server. */
  readonly shared: Redis | undefined;
  /** Its tasks are those of a priority. */
  readonly level?: PushedLevel;
}

const LOOKS_AT_TASKS = 2_000;
const LOOKS_AT_BYTES = 4 << 20;

export function openPart(keys: QueueKeys, { address, durability, links, shared, level }: PartOptions): Part {
  const place = locationOf(address, keys);
  const redis = shared ?? defineScripts((links as ClusterLinks).client(keys.queue));
  const resultHash =
    links && place.results
      ? { ...place.results, redis: links.client(keys.result) }
      : { key: keys.result, address: place.address, redis };
  const pusher = createPusher(redis, place.keys, place.results && resultHash, level);
  const requests = openRequests(redis, place.keys);
  const results = openResults(resultHash, { key: keys.errors, address: place.address, redis });
  const confirmed = async (tasks: number): Promise<void> => {
    const what = tasks === 1 ? 'the task is' : `${tasks} tasks are`;
    if (durability) await awaitReplicas(redis, durability, `${what} enqueued`);
  };
  const hasResult = async (id: string | Buffer): Promise<boolean> =>
    (await resultHash.redis.hexists(resultHash.key, id)) === 1;
  return {
    keys,
    own: place.keys,
    redis,
    results,
    resultHash,
    push: async (tasks, delayMs) => {
      const duplicates = await pusher.push(tasks, delayMs);
      await confirmed(tasks.length);
      return duplicates;
    },
    confirmed,
    cancel: async (id) =>
      place.results && (await hasResult(id)) ? 'finished' : await cancelTask(redis, place.keys, id, requests),
    hasEnded: async (id) => {
      const [has, failed] = await Promise.all([hasResult(id), redis.hexists(keys.errors, id)]);
      return has || failed === 1;
    },
    holds: async (id) => await holdsTask(redis, keys, id),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([results, pusher, requests].map((one) => one[Symbol.asyncDispose]()));
    },
  };
}

async function holdsTask(redis: Redis, keys: QueueKeys, id: string | Buffer): Promise<boolean> {
  const bounds = [LOOKS_AT_TASKS, LOOKS_AT_BYTES];
  const found = await script(redis, 'find')(
    keys.queue,
    keys.delayed,
    keys.load,
    id,
    keys.inflight(''),
    ...bounds,
  );
  const wanted = Buffer.from(id);
  return (found as Buffer[]).some((task) =>
    [task, afterDelay(task)].some((raw) => Buffer.from(taskId(raw)).equals(wanted)),
  );
}

/** The task in a member of the delayed set: see `delayedMember`. */
function afterDelay(member: Buffer): Buffer {
  let at = 0;
  for (let i = 0; i < 3; i++) at = member.indexOf('|', at) + 1;
  return member.subarray(at);
}
