/**
 * The tasks that were taken and not begun, in the order in which they were taken. Those of a reply in one text stay packed, each until it is
 * needed: when the first of them is, the next turn is on its way, and Redis need not wait for it.
 */
import { PackedTasks } from '../../../queue/workers/packed-tasks.ts';
import { noPast, type Past } from '../../../queue/workers/past.ts';
import { sizeOf, type Delivery } from '../../../queue/workers/turn.ts';

export interface Backlog {
  readonly length: number;
  /** Of all of them. */
  readonly bytes: number;
  readonly deliveries: readonly Delivery[];
  /** The past of the one that begins next. */
  readonly nextPast: Past | undefined;
  /** When the next one was taken, by the clock of `add`. */
  readonly since: number | undefined;
  add(deliveries: readonly Delivery[] | PackedTasks<Delivery>, now: number): void;
  /** Removes the next one and returns it. */
  take(): Delivery | undefined;
  /** Removes those for which `matches` is true, and returns them. */
  remove(matches: (delivery: Delivery) => boolean): readonly Delivery[];
}

export function createBacklog(): Backlog {
  /** None is empty. */
  let groups: Group[] = [];
  let length = 0;
  let bytes = 0;
  return {
    get length() {
      return length;
    },
    get bytes() {
      return bytes;
    },
    get deliveries() {
      return groups.flatMap((group) => group.deliveries);
    },
    get nextPast() {
      return groups[0]?.nextPast;
    },
    get since() {
      return groups[0]?.since;
    },
    add: (tasks, now) => {
      if (tasks.length === 0) return;
      groups.push(new Group(tasks, now));
      length += tasks.length;
      bytes += bytesOf(tasks);
    },
    take: () => {
      const group = groups[0];
      const delivery = group?.take();
      if (!group || !delivery) return undefined;
      if (group.length === 0) groups.shift();
      length--;
      bytes -= sizeOf(delivery);
      return delivery;
    },
    remove: (matches) => {
      const removed: Delivery[] = [];
      groups = groups.flatMap(({ deliveries, since }) => {
        const kept: Delivery[] = [];
        for (const delivery of deliveries) (matches(delivery) ? removed : kept).push(delivery);
        return kept.length > 0 ? [new Group(kept, since)] : [];
      });
      length -= removed.length;
      bytes -= bytesOf(removed);
      return removed;
    },
  };
}

/** Tasks that were taken together. */
class Group {
  readonly since: number;
  readonly #tasks: readonly Delivery[] | PackedTasks<Delivery>;
  #taken = 0;

  constructor(tasks: readonly Delivery[] | PackedTasks<Delivery>, since: number) {
    this.#tasks = tasks;
    this.since = since;
  }

  get length(): number {
    return this.#tasks.length - this.#taken;
  }

  get deliveries(): readonly Delivery[] {
    const tasks = this.#tasks;
    return tasks instanceof PackedTasks ? tasks.deliveries : tasks.slice(this.#taken);
  }

  get nextPast(): Past | undefined {
    const tasks = this.#tasks;
    return tasks instanceof PackedTasks ? noPast : tasks[this.#taken]?.past;
  }

  take(): Delivery | undefined {
    const tasks = this.#tasks;
    const at = this.#taken++;
    return tasks instanceof PackedTasks ? tasks.take() : tasks[at];
  }
}

function bytesOf(tasks: readonly Delivery[] | PackedTasks<Delivery>): number {
  if (tasks instanceof PackedTasks) return tasks.bytes;
  return tasks.reduce((sum, task) => sum + sizeOf(task), 0);
}
