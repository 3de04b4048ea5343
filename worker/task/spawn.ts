/** `context.spawn`: collects the tasks that a handler adds, until its attempt ends with a result. */
import { createHash } from 'node:crypto';
import { encodePart, type PartMark } from '../../queue/batch-mark.ts';
import {
  encodeTask,
  hasId,
  isPlainObject,
  refuseContainer,
  shortId,
  type EncodedTask,
} from '../../queue/task.ts';

/** A turn adds them all in one step, which blocks Redis. */
const MAX_TASKS = 1_000;
const MAX_BYTES = 1 << 20;

export interface Spawned {
  readonly tasks: readonly EncodedTask[];
  /** See `TaskContext.spawn`. */
  add(tasks: Iterable<unknown>): string[];
  /** No more can be added. */
  close(): void;
}

/** `batch`: the mark of the task that spawns, if it is a part of a batch. */
export function createSpawned(id: string | Buffer, batch: PartMark | undefined): Spawned {
  const added: EncodedTask[] = [];
  let bytes = 0;
  let closed = false;
  const prefix = idPrefix(id);
  const encode = (task: unknown): EncodedTask => {
    const fallbackId = `${prefix}/${added.length}`;
    if (batch) return encodePart(batch.id, task, fallbackId);
    if (task instanceof Uint8Array) return encodeTask(task);
    refuseContainer(task);
    return encodeTask(isPlainObject(task) && !hasId(task) ? { ...task, id: fallbackId } : task);
  };
  return {
    tasks: added,
    add: (tasks) => {
      if (closed)
        throw new Error(`task ${shortId(id)} has ended: it can add tasks only while its handler runs`);
      const ids: string[] = [];
      for (const task of tasks) {
        const one = encode(task);
        bytes += Buffer.byteLength(one.raw);
        if (added.length >= MAX_TASKS || bytes > MAX_BYTES)
          throw new RangeError(
            `a task can add ${MAX_TASKS} tasks of ${MAX_BYTES} bytes in all: let one of these add the others`,
          );
        added.push(one);
        ids.push(String(one.id));
      }
      return ids;
    },
    close: () => {
      closed = true;
    },
  };
}

/** A longer id is cut, characters. */
const LONG_ID = 100;

/** What the ids of added tasks begin with: the task's own, and where that is long, or bytes, a digest of it, so that no two tasks share one. */
function idPrefix(id: string | Buffer): string {
  if (typeof id === 'string' && id.length <= LONG_ID) return id;
  const digest = createHash('sha256').update(id).digest('base64url').slice(0, 22);
  return `${shortId(id, LONG_ID)}${digest}`;
}
