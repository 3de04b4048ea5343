/** The tasks that were taken and not begun, in the order in which they were taken. */
import type { Delivery } from '../../../queue/workers/turn.ts';

export interface Backlog {
  readonly length: number;
  /** Of all of them. */
  readonly bytes: number;
  readonly deliveries: readonly Delivery[];
  /** The one that begins next. */
  readonly next: Delivery | undefined;
  /** When the next one was taken, by the clock of `add`. */
  readonly since: number | undefined;
  add(deliveries: readonly Delivery[], now: number): void;
  /** Removes the next one and returns it. */
  take(): Delivery | undefined;
  /** Removes those for which `matches` is true, and returns them. */
  remove(matches: (delivery: Delivery) => boolean): readonly Delivery[];
}

export function createBacklog(): Backlog {
  let held: { readonly delivery: Delivery; readonly since: number }[] = [];
  let bytes = 0;
  return {
    get length() {
      return held.length;
    },
    get bytes() {
      return bytes;
    },
    get deliveries() {
      return held.map(({ delivery }) => delivery);
    },
    get next() {
      return held[0]?.delivery;
    },
    get since() {
      return held[0]?.since;
    },
    add: (deliveries, now) => {
      for (const delivery of deliveries) {
        held.push({ delivery, since: now });
        bytes += delivery.raw.length;
      }
    },
    take: () => {
      const delivery = held.shift()?.delivery;
      bytes -= delivery?.raw.length ?? 0;
      return delivery;
    },
    remove: (matches) => {
      const removed = held.filter(({ delivery }) => matches(delivery)).map(({ delivery }) => delivery);
      held = held.filter(({ delivery }) => !matches(delivery));
      bytes -= removed.reduce((sum, { raw }) => sum + raw.length, 0);
      return removed;
    },
  };
}
