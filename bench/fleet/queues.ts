/** What the pools of a fleet count: queues of Millrace, or queues of other libraries as their own clients leave them. */
import type { Redis } from 'ioredis';
import { queueKeys } from '../../queue/keys.ts';
import { readSource } from '../../queue/sources/read.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import type { Watched } from '../../queue/sources/ask.ts';
import type { Json } from '../../test/support/world.ts';
import { attend } from '../../test/sources/attendance.ts';
import type { RecordedLibrary } from '../run/recorded-push.ts';

export interface FleetQueue {
  /** Of a pool's `spec`. */
  readonly spec: Json;
  /** Keys that the controller is told the changes of, while nothing waits. */
  readonly tracked: readonly string[];
  /** Puts a task in. */
  readonly push: () => Promise<void>;
  /** Takes all out. */
  readonly empty: () => Promise<void>;
  /** Opens it anew, after everything was deleted. */
  readonly reopen: () => Promise<void>;
  /** Lets so many workers of the library be there, as far as Redis shows, until they are disposed. */
  readonly attend?: (workers: number) => Promise<AsyncDisposable>;
}

export interface FleetKind {
  readonly name: string;
  /** `id`: four letters, of no other queue. Empty when this resolves. */
  readonly open: (redis: Redis, id: string) => Promise<FleetQueue>;
}

const PLAIN = { tasksPerReplica: 5, scaleDown: { window: '10s' } };

/** `mixed`: every second pool has a target wait. */
export function millraceQueues(scaling: 'plain' | 'mixed'): FleetKind {
  let opened = 0;
  return {
    name: 'a queue of Millrace',
    open: (redis, id) => {
      const { queue, result, delayed } = queueKeys(id, `${id}:result`);
      const rule = scaling === 'mixed' && opened++ % 2 === 0 ? { targetWait: '10s' } : PLAIN;
      return Promise.resolve({
        spec: { queue, result, scaling: rule },
        tracked: [queue, delayed],
        push: async () => void (await redis.lpush(queue, 'a task')),
        empty: async () => void (await redis.del(queue)),
        reopen: () => Promise.resolve(),
      });
    },
  };
}

/** A queue that was opened and is empty. */
export function libraryQueues(library: RecordedLibrary): FleetKind {
  return {
    name: library.name,
    open: async (redis, id) => {
      const settings = library.settings(id);
      await library.pushFirst(redis, id);
      const { watched, sample } = await readSource(redis, sourceOf(settings), 0);
      if (sample.waiting === 0) throw new Error(`a push of ${library.name} to ${id} left nothing that waits`);
      const full = watched.filter(isCount);
      const empty = async (): Promise<void> => {
        await Promise.all(full.map(({ question: { key } }) => redis.del(key)));
        const { queues = [], group: ofTaskiq } = settings.taskiq ?? {};
        const { keys, group } = settings.stream ?? { keys: queues, group: ofTaskiq };
        if (group !== undefined) for (const key of keys) await redis.xgroup('SETID', key, group, '$');
      };
      await empty();
      return {
        spec: { source: settings, scaling: PLAIN },
        tracked: watched.map(({ question: { key } }) => key),
        push: () => library.push(redis, id),
        empty,
        reopen: async () => {
          await library.pushFirst(redis, id);
          await empty();
        },
        attend: (workers) => attend(redis, settings, workers),
      };
    },
  };
}

/** The key holds something, and nothing but tasks. */
function isCount({ question: { command }, reply }: Watched): boolean {
  return ['LLEN', 'ZCARD', 'HLEN', 'SCARD'].includes(command) && reply !== '0';
}
