/**
 * The names of a queue in partitions: several lists that are one queue, each with a result hash in its own cluster slot, so that they
 * spread over the primaries of a Redis Cluster. Pure. A queue of one partition is an ordinary queue with plain names.
 */
import { crc32 } from 'node:zlib';
import { hashTag, queueKeys, type QueueKeys } from './keys.ts';

/** More lists than this cost an idle worker and the controller more than they bring. */
export const MAX_PARTITIONS = 256;

/**
 * The keys of all partitions: `queue:{0}`, `queue:{1}`, … with `result:{0}`, `result:{1}`, …; the plain names if there is one partition.
 * Throws `RangeError` for a number that is none from 1 to `MAX_PARTITIONS`, and for names with a `{`.
 */
export function partitionKeys(queue: string, result: string, partitions: number): QueueKeys[] {
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > MAX_PARTITIONS)
    throw new RangeError(`a queue has 1 to ${MAX_PARTITIONS} partitions: got ${partitions}`);
  if (partitions === 1) return [queueKeys(queue, result)];
  for (const name of [queue, result]) if (name.includes('{')) throw new RangeError(whyNot(name));
  return Array.from({ length: partitions }, (_, i) => queueKeys(`${queue}:{${i}}`, `${result}:{${i}}`));
}

/** Of the first `{` of a name and the next `}`, Redis Cluster reads the tag: those of the partition's number must be the first. */
function whyNot(name: string): string {
  return hashTag(name) === undefined
    ? `"${name}" has a "{", which takes the number of a partition out of its hash tag: it cannot have partitions`
    : `"${name}" has a hash tag, which puts all of it into one cluster slot: it cannot have partitions`;
}

/**
 * The keys of a queue that has, or had, these numbers of partitions, each list once: of `[1, 16]` the plain list and the sixteen others.
 * Throws `RangeError` as `partitionKeys` does, and for no number at all.
 */
export function partitionedKeys(
  queue: string,
  result: string,
  numbers: number | readonly number[],
): QueueKeys[] {
  const all = [numbers].flat();
  if (all.length === 0) throw new RangeError('a queue has at least one partition: no number was given');
  const keys = all.flatMap((partitions) => partitionKeys(queue, result, partitions));
  return [...new Map(keys.map((one) => [one.queue, one])).values()];
}

/** The numbers in a text such as `16` or `1,16`. Throws `RangeError` for anything else. */
export function parsePartitions(text: string): readonly number[] {
  return text.split(',').map((one) => {
    const partitions = /^\s*\d+\s*$/.test(one) ? Number(one) : Number.NaN;
    if (partitions >= 1 && partitions <= MAX_PARTITIONS) return partitions;
    throw new RangeError(
      `partitions are a number from 1 to ${MAX_PARTITIONS}, or several with commas, such as 1,16: got "${text}"`,
    );
  });
}

/**
 * The partition, from 0, that library and command line push a task to: the CRC-32 (as of zlib) of the id's bytes modulo the number of
 * partitions, which is easy to compute in any language. The same for a text and its UTF-8 bytes.
 */
export function partitionOf(id: string | Buffer, partitions: number): number {
  return partitions === 1 ? 0 : crc32(id) % partitions;
}
