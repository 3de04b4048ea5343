/**
 * The tasks that a process has, by their numbers. In slots that are used again and again: through a Map, V8 would keep all tasks that have
 * passed (`worker/epoch/tasks/run-list.ts`).
 */
import { followingNumber } from './python-frames.ts';

const FEWEST_SLOTS = 16;

export class NumberedTasks<T extends { readonly number: number }> {
  /** A power of two. Each has the one of its number modulo this. */
  #slots: (T | undefined)[] = emptySlots(FEWEST_SLOTS);
  #size = 0;
  #last = 0;

  get size(): number {
    return this.#size;
  }

  /** The number of the next one: the one after that of the last, unless the slot of that is taken by one that has been there for long. */
  nextNumber(): number {
    let number = followingNumber(this.#last, 1);
    while (this.#slots[this.#slotOf(number)]) number = followingNumber(number, 1);
    return number;
  }

  /** Adds one of `nextNumber`. */
  add(one: T): void {
    this.#last = one.number;
    this.#slots[this.#slotOf(one.number)] = one;
    this.#size++;
    if (2 * this.#size > this.#slots.length) this.#grow();
  }

  get(number: number): T | undefined {
    const found = this.#slots[this.#slotOf(number)];
    return found?.number === number ? found : undefined;
  }

  delete(number: number): void {
    if (!this.get(number)) return;
    this.#slots[this.#slotOf(number)] = undefined;
    this.#size--;
  }

  /** All of them, and those that were added last at the end. */
  values(): T[] {
    const from = this.#slotOf(this.#last) + 1;
    return [...this.#slots.slice(from), ...this.#slots.slice(0, from)].filter((one) => one !== undefined);
  }

  clear(): void {
    this.#slots.fill(undefined);
    this.#size = 0;
  }

  #slotOf(number: number): number {
    return number & (this.#slots.length - 1);
  }

  #grow(): void {
    const all = this.values();
    this.#slots = emptySlots(2 * this.#slots.length);
    for (const one of all) this.#slots[this.#slotOf(one.number)] = one;
  }
}

function emptySlots<T>(count: number): (T | undefined)[] {
  return Array.from({ length: count }, () => undefined);
}
