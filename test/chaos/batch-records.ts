/** What Redis has of the batches of a run in the end. */
import type { QueueKeys } from '../../queue/keys.ts';
import { readBatch } from '../../queue/batches/record.ts';
import type { RedisOf } from '../../queue/location.ts';
import { partitionOf } from '../../queue/partitions.ts';
import type { BatchEvidence, BatchRecord, BatchTry } from './batch-check.ts';
import { nameBatch, withInner } from './batch-plan.ts';

/** `isOne`: the queues are the partitions of one. */
export async function readBatches(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  tries: readonly BatchTry[],
  isOne = false,
): Promise<BatchEvidence> {
  const records = new Map<string, BatchRecord>();
  for (const { plan, id: own } of tries)
    for (const { id } of withInner(nameBatch(plan, own))) {
      const keys = queues[isOne ? partitionOf(`${id}:then`, queues.length) : plan.queue] as QueueKeys;
      const record = await readRecord(redisOf, keys, id, isOne ? queues : [keys]);
      if (record) records.set(id, record);
    }
  return { tries, records };
}

/** `lists`: those that have its parts. */
async function readRecord(
  redisOf: RedisOf,
  keys: QueueKeys,
  id: string,
  lists: readonly QueueKeys[],
): Promise<BatchRecord | undefined> {
  const view = await readBatch(redisOf, keys, id);
  if (!view) return undefined;
  const { state, size, succeeded: done, failed, cancelled } = view;
  const kinds = [
    'batchLeft',
    'batchNumbered',
    'batchInner',
    'batchKnown',
    'batchShares',
    'batchSpawned',
  ] as const;
  const open: string[] = [];
  for (const list of lists)
    for (const kind of kinds) if ((await redisOf(list).exists(list[kind](id))) > 0) open.push(list[kind](id));
  const ids = await redisOf(keys).lrange(keys.batchIds(id), 0, -1);
  return { state, size, done, failed, cancelled, ids, open };
}
