/**
 * taskiq with taskiq-redis (seen: taskiq 0.13.0, taskiq-redis 1.2.4). It has two brokers, and a pool has the one or the other:
 *
 * - `ListQueueBroker` keeps a queue as a list, from which workers pop. What runs is in no key, and is lost with its worker.
 * - `RedisStreamBroker` keeps it as a stream with a consumer group, which `group` names. An entry is pending until its result is
 *   saved, so what a worker has fetched and not begun is in hand as well.
 *
 * Delayed tasks are with the scheduler (`schedule:time:…`), a process of its own that needs no worker: it puts a task into the
 * queue when that is due, and the push wakes the pool. So they are not counted.
 */
import { listSource } from './list.ts';
import type { Source } from './source.ts';
import { streamSource } from './stream.ts';

export interface TaskiqSettings {
  /** `queue_name` of the broker, which is the key. */
  readonly queues: readonly string[];
  /** `consumer_group_name` of RedisStreamBroker; without it, the broker is ListQueueBroker. */
  readonly group?: string;
  /** A duration; for ListQueueBroker, and for workers that acknowledge before they run. */
  readonly longestTask?: string;
}

const FIELDS = { keys: 'source.taskiq.queues', group: 'source.taskiq.group' };

export function taskiqSource({ queues, group, longestTask }: TaskiqSettings): Source {
  const longest = longestTask === undefined ? {} : { longestTask };
  const source =
    group === undefined
      ? listSource({ keys: queues, ...longest })
      : streamSource({ keys: queues, group, ...longest }, FIELDS);
  return { ...source, kind: 'taskiq' };
}
