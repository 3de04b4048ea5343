/**
 * The keys of unique tasks (unique.lua) go where their tasks go: in the new place with the batch that has the task (move/in.lua), and
 * gone from the old one after that. One that stayed would keep clients of the old place from pushing a task that has long ended in the new one.
 *
 * Partitions have no unique tasks, so there a key only ends. That of a task that has ended and is kept for its time stays.
 */
import type { QueueKeys } from '../keys.ts';
import { replyCode } from '../connection/reply-code.ts';
import { script } from '../scripts/scripts.ts';
import { taskOptionsOf } from '../task-options.ts';
import { taskHead } from '../task.ts';
import type { Batch } from './batch.ts';
import { tasksOf } from './batch.ts';
import type { Side } from './side.ts';

/** A key that a task of a batch has in the old place. */
export interface HeldKey {
  readonly key: string;
  readonly id: string;
  /** As the old place has it. */
  readonly value: string;
  /** Until when it is kept at least, ms of the old place's time; 0 for no longer than the task. */
  readonly till: number;
  /** Until it ends by itself, ms. */
  readonly leftMs: number;
}

/** The keys that tasks of a batch have. Costs nothing for tasks that name none. */
export async function heldKeys(source: Side, keys: QueueKeys, batch: Batch): Promise<HeldKey[]> {
  const redis = source.at(keys.queue);
  const named = tasksOf(batch).flatMap((raw) => uniqueOf(raw) ?? []);
  const found = named.map(async ({ key, id }): Promise<HeldKey[]> => {
    const at = keys.unique(key);
    const [value, leftMs] = await Promise.all([redis.get(at).catch(nothingElse), redis.pttl(at)]);
    const lock = value === null ? undefined : lockOf(value);
    return value !== null && lock?.id === id && leftMs > 0
      ? [{ key, id, value, till: lock.till, leftMs }]
      : [];
  });
  return (await source.ask(Promise.all(found))).flat();
}

/** As move/in.lua reads them; empty where there are none. */
export function packKeys(held: readonly HeldKey[], aheadMs: number): string {
  if (held.length === 0) return '';
  return JSON.stringify(
    held.map(({ key, id, till, leftMs }) => [key, id, till === 0 ? 0 : till + aheadMs, leftMs]),
  );
}

/** Once the tasks have arrived. Repeating it changes nothing. */
export async function endKeys(source: Side, keys: QueueKeys, held: readonly HeldKey[]): Promise<void> {
  if (held.length === 0) return;
  const call = script(source.at(keys.queue), 'move-unlock');
  const names = held.map(({ key }) => keys.unique(key));
  await source.ask(call(names.length, ...names, ...held.map(({ value }) => value)));
}

/** What cannot be one is seen by the worker that begins the task. */
function uniqueOf(raw: Buffer): { readonly key: string; readonly id: string } | undefined {
  if (!raw.includes('"millrace"')) return undefined;
  const { id, value } = taskHead(raw);
  try {
    const key = taskOptionsOf(value)?.unique;
    return key === undefined || typeof id !== 'string' ? undefined : { key, id };
  } catch {
    return undefined;
  }
}

/** `undefined` for what something else wrote there, and for the key of a task that has ended. */
function lockOf(text: string): { readonly id: unknown; readonly till: number } | undefined {
  try {
    const lock = JSON.parse(text) as { id?: unknown; till?: unknown; done?: unknown } | null;
    const till = Number(lock?.till ?? 0);
    return lock?.done === true ? undefined : { id: lock?.id, till: Number.isFinite(till) ? till : 0 };
  } catch {
    return undefined;
  }
}

/** A key of another type is none. */
function nothingElse(error: unknown): null {
  if (replyCode(error) === 'WRONGTYPE') return null;
  throw error;
}
