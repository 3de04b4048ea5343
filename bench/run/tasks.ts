/**
 * The tasks of a benchmark and what must come of them: every contestant gets the same ones, and for every one there must be
 * the right result in the end. A task is `{"id":"task-<i>","n":<i>}`, its result is n. The ids are longer than the texts that
 * V8's JSON parser shares: looking these up in its table would be a good part of what is measured.
 */
import type { Redis } from 'ioredis';

const BATCH = 1_000;

export const idOf = (i: number): string => `task-${String(i).padStart(8, '0')}`;

/** A task as bytes on the wire. */
export const taskOf = (i: number): string => `{"id":"${idOf(i)}","n":${i}}`;

/** The result of a task's text, as it is stored: what each of the plain clients does with it. */
export function work(task: string): { readonly id: string; readonly result: string } {
  const { id, n } = JSON.parse(task) as { id: string; n: number };
  return { id, result: JSON.stringify(n) };
}

/** Calls `each` with ranges of up to 1,000, a few of them concurrently. */
export async function inBatches(
  count: number,
  each: (from: number, to: number) => Promise<unknown>,
): Promise<void> {
  let pending: Promise<unknown>[] = [];
  for (let from = 0; from < count; from += BATCH) {
    pending.push(each(from, Math.min(from + BATCH, count)));
    if (pending.length < 8) continue;
    await Promise.all(pending);
    pending = [];
  }
  await Promise.all(pending);
}

/** `from`, `from` + 1, … `to` − 1 */
export function range<T>(from: number, to: number, value: (i: number) => T): T[] {
  return Array.from({ length: to - from }, (_, i) => value(from + i));
}

/** Pushes tasks 0 … count − 1 to a list. */
export async function pushTasks(redis: Redis, list: string, count: number): Promise<void> {
  await inBatches(count, (from, to) => redis.lpush(list, ...range(from, to, taskOf)));
}

/** Throws unless the hash holds the result of each task, and nothing else. */
export async function verifyResults(redis: Redis, hash: string, count: number, name: string): Promise<void> {
  const found = await redis.hlen(hash);
  if (found !== count) throw new Error(`${name} wrote ${found} results for ${count} tasks`);
  await inBatches(count, async (from, to) => {
    const values = await redis.hmget(hash, ...range(from, to, idOf));
    values.forEach((value, i) => expectResult(value, from + i, name));
  });
}

export function expectResult(value: string | null | undefined, i: number, name: string): void {
  if (value !== String(i))
    throw new Error(`${name} returned ${value ?? 'no result'} for task ${i}: its figures are meaningless`);
}
