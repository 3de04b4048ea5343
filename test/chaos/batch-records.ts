/** What Redis has of the batches of a run in the end. */
import type { QueueKeys } from '../../queue/keys.ts';
import { readBatch } from '../../queue/batches/record.ts';
import type { RedisOf } from '../../queue/location.ts';
import type { BatchEvidence, BatchRecord, BatchTry } from './batch-check.ts';
import { nameBatch, withInner } from './batch-plan.ts';

export async function readBatches(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  tries: readonly BatchTry[],
): Promise<BatchEvidence> {
  const records = new Map<string, BatchRecord>();
  for (const { plan, id: own } of tries)
    for (const { id } of withInner(nameBatch(plan, own))) {
      const keys = queues[plan.queue] as QueueKeys;
      const record = await readRecord(redisOf, keys, id);
      if (record) records.set(id, record);
    }
  return { tries, records };
}

async function readRecord(redisOf: RedisOf, keys: QueueKeys, id: string): Promise<BatchRecord | undefined> {
  const redis = redisOf(keys);
  const view = await readBatch(redisOf, keys, id);
  if (!view) return undefined;
  const { state, size, succeeded: done, failed, cancelled } = view;
  const short = {
    [keys.batchLeft(id)]: 'left',
    [keys.batchInner(id)]: 'inner',
    [keys.batchKnown(id)]: 'known',
  };
  const open: string[] = [];
  for (const [key, name] of Object.entries(short)) if ((await redis.exists(key)) > 0) open.push(name);
  return { state, size, done, failed, cancelled, ids: await redis.lrange(keys.batchIds(id), 0, -1), open };
}
