/**
 * Priorities of a queue: beside its own list, which has the tasks of normal priority, it may have one for tasks that go before these and one
 * for those that come after. Pure.
 *
 * Each is a queue with keys of its own, in the slot of the queue, that a worker serves by the order of several queues. Results and errors are
 * where those of the queue are, so who waits for a task need not know its priority.
 */
import { hashTag, queueKeys, type QueueKeys } from './keys.ts';

export const LEVELS = ['high', 'low'] as const;
/** A priority that has a list of its own. */
export type Level = (typeof LEVELS)[number];
export const PRIORITIES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

export function isPriority(value: unknown): value is Priority {
  return PRIORITIES.some((priority) => priority === value);
}

export function isLevel(value: unknown): value is Level {
  return LEVELS.some((level) => level === value);
}

/** `high`, or `high,low`. Throws `RangeError` for anything else. */
export function parseLevels(text: string): Level[] {
  const names = text.split(',').map((name) => name.trim());
  const levels = names.filter(isLevel);
  if (levels.length < names.length || new Set(levels).size < levels.length)
    throw new RangeError(`priorities are high, low or both with a comma, high,low: got "${text}"`);
  return levels;
}

/** `{tasks}:high`: the list of a priority, in the slot of the queue. Throws `RangeError` for a queue that cannot have one. */
export function levelName(queue: string, level: Level): string {
  if (hashTag(queue) !== undefined) return `${queue}:${level}`;
  if (/[{}]/.test(queue))
    throw new RangeError(
      `"${queue}" has braces and no hash tag, so no other list can be put into its slot of a Redis Cluster: it cannot have priorities`,
    );
  return `{${queue}}:${level}`;
}

/** Whether a list that is not a queue's own is that of a priority; otherwise it is a partition. */
export function isLevelName(list: string): boolean {
  return !/:\{\d+\}$/.test(list);
}

/** Throws `RangeError` as `levelName` does, and for a result hash of that name. */
export function levelKeys({ queue, result, errors }: QueueKeys, level: Level): QueueKeys {
  return { ...queueKeys(levelName(queue, level), result), errors };
}

/** The keys of a queue and of these priorities of it, the highest first. Throws `RangeError` as `levelKeys` does. */
export function rankedKeys(keys: QueueKeys, levels: readonly Level[]): QueueKeys[] {
  const of = (level: Level): QueueKeys[] => (levels.includes(level) ? [levelKeys(keys, level)] : []);
  return [...of('high'), keys, ...of('low')];
}
