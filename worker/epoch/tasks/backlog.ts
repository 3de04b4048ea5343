/**
 * The tasks that were taken and not begun, in the order in which they were taken. Those of a reply in one text stay packed until the first of
 * them is needed: by then the next turn is on its way, and Redis need not wait for it.
 */
import { PackedTasks } from '../../../queue/workers/packed-tasks.ts';
import { noPast, type Past } from '../../../queue/workers/past.ts';
import type { Delivery } from '../../../queue/workers/turn.ts';

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

/** An array is moved to its beginning no earlier than when it has this many empty places there. */
const EMPTY_PLACES = 1_024;

export function createBacklog(): Backlog {
  // removing the first element of an array costs more than all else here, so those that were taken leave empty places
  let held: (Delivery | undefined)[] = [];
  let times: number[] = [];
  let first = 0;
  let bytes = 0;
  /** Behind all others. */
  let packed: { readonly tasks: PackedTasks<Delivery>; readonly since: number } | undefined;
  const hold = (deliveries: readonly Delivery[], since: number): void => {
    for (const delivery of deliveries) {
      held.push(delivery);
      times.push(since);
    }
  };
  const unpack = (): void => {
    if (!packed) return;
    const { tasks, since } = packed;
    packed = undefined;
    hold(tasks.deliveries, since);
  };
  const waiting = (): Delivery[] => {
    unpack();
    return held.slice(first) as Delivery[];
  };
  return {
    get length() {
      return held.length - first + (packed?.tasks.length ?? 0);
    },
    get bytes() {
      return bytes;
    },
    get deliveries() {
      return waiting();
    },
    get nextPast() {
      return held[first]?.past ?? (packed && noPast);
    },
    get since() {
      return times[first] ?? packed?.since;
    },
    add: (tasks, now) => {
      unpack();
      if (tasks instanceof PackedTasks) {
        packed = { tasks, since: now };
        bytes += tasks.bytes;
      } else {
        hold(tasks, now);
        for (const { raw } of tasks) bytes += raw.length;
      }
    },
    take: () => {
      if (first === held.length) unpack();
      const delivery = held[first];
      if (!delivery) return undefined;
      held[first++] = undefined;
      bytes -= delivery.raw.length;
      if (first === held.length || (first >= EMPTY_PLACES && 2 * first >= held.length)) {
        held = held.slice(first);
        times = times.slice(first);
        first = 0;
      }
      return delivery;
    },
    remove: (matches) => {
      const removed: Delivery[] = [];
      const kept: Delivery[] = [];
      const since: number[] = [];
      waiting().forEach((delivery, i) => {
        if (matches(delivery)) {
          removed.push(delivery);
          bytes -= delivery.raw.length;
        } else {
          kept.push(delivery);
          since.push(times[first + i] as number);
        }
      });
      held = kept;
      times = since;
      first = 0;
      return removed;
    },
  };
}
