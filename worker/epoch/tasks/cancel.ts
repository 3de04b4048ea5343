/**
 * Determines which of a worker's tasks were cancelled. A turn's reply shows whether there are marks, and whether there are new
 * ones. The worker reads them when there are new ones and caches them: a mark that matches no task is kept for a week and costs
 * no round trip in that time. A task that matches is looked up, as its mark may be gone. If there are too many marks to cache,
 * tasks that were just taken are always looked up, and those held before when there are new marks.
 */
import type { Redis } from 'ioredis';
import { replyCode } from '../../../queue/connection/reply-code.ts';
import { areCancelled, readCancelMarks } from '../../../queue/cancel.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import { tasksBrought } from '../../../queue/workers/brought.ts';
import type { Delivery, TurnReply } from '../../../queue/workers/turn.ts';
import { batchCancelMark, batchIdOf } from '../../../queue/batch-mark.ts';
import { taskHead } from '../../../queue/task.ts';

type Held = Extract<TurnReply, { kind: 'held' }>;

/** With more marks than this, they are not cached, and tasks are looked up one by one. */
const MOST_KNOWN = 1_000;

/** Without permission to read marks everything is run: running an unwanted task does less harm than running none. */
function notAllowed(error: unknown): never[] {
  if (replyCode(error) === 'NOPERM') return [];
  throw error;
}

export interface CancelCheck {
  /** Receipts of the tasks that are marked, with their ids, of those that `reply` brought and of those in `before`. */
  marked(
    reply: Held,
    before: () => readonly Delivery[],
  ): Promise<ReadonlyMap<string, string | Buffer>> | undefined;
}

/** `repeat` resends what Redis did not answer, and resolves to `undefined` when no time is left. */
export function createCancelCheck(
  redis: Redis,
  keys: QueueKeys,
  repeat: <T>(send: () => Promise<T>) => Promise<T | undefined>,
): CancelCheck {
  let known = 0;
  let read: ReadonlySet<string> | 'too many' | undefined;
  return {
    marked: (reply, before) => {
      const { marks } = reply;
      const fresh = marks !== known;
      known = marks;
      if (fresh) read = undefined;
      if (marks === 0) return undefined;
      const tasks = tasksBrought(reply);
      const deliveries = fresh ? [...before(), ...tasks] : tasks;
      if (deliveries.length === 0) return undefined;
      if (read === undefined) return readAll().then(() => lookUp(matching(deliveries)));
      const matches = matching(deliveries);
      return matches.length === 0 ? undefined : lookUp(matches);
    },
  };

  async function readAll(): Promise<void> {
    const unread = (): undefined => undefined;
    const marks = await repeat(() => readCancelMarks(redis, keys, MOST_KNOWN).catch(notAllowed)).catch(
      unread,
    );
    read = marks ? new Set(marks.map((mark) => name(mark))) : 'too many';
  }

  function matching(deliveries: readonly Delivery[]): readonly Delivery[] {
    const marks = read;
    if (!(marks instanceof Set)) return deliveries;
    return deliveries.filter(({ raw }) => namesOf(raw).some((id) => marks.has(name(id))));
  }

  async function lookUp(deliveries: readonly Delivery[]): Promise<ReadonlyMap<string, string | Buffer>> {
    if (deliveries.length === 0) return new Map();
    const asked = deliveries.flatMap(({ receipt, raw }) => {
      const names = namesOf(raw);
      return names.map((mark) => ({ receipt, id: names[0] ?? '', mark }));
    });
    const marks = asked.map(({ mark }) => mark);
    // tasks that cannot be looked up are run, as without permission
    const found =
      (await repeat(() => areCancelled(redis, keys, marks).catch(notAllowed)).catch(() => [])) ?? [];
    return new Map(asked.flatMap(({ receipt, id }, i) => (found[i] ? [[receipt, id]] : [])));
  }
}

/** What a task may be cancelled by: its id, and for a part of a batch the mark of that. */
function namesOf(raw: Buffer): (string | Buffer)[] {
  const { id, value } = taskHead(raw);
  const batch = batchIdOf(value);
  return batch === undefined ? [id] : [id, batchCancelMark(batch)];
}

/** Ids may be any bytes. */
const name = (id: string | Buffer): string => Buffer.from(id).toString('latin1');
