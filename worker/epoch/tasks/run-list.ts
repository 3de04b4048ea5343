/**
 * Those that run, in the order in which they began. Not a Map: V8 makes a new table when one has been filled and emptied often enough, and the
 * old one refers to the new one and to all that was in it. Once a table is in the old generation, everything that has passed through the
 * later ones stays until V8 collects all of its memory, and is copied twice by then.
 */

/** A place in a list. Each is in one list at most. */
export interface Listed<T> {
  before: T | undefined;
  after: T | undefined;
}

export class RunList<T extends Listed<T>> implements Iterable<T> {
  #first: T | undefined;
  #last: T | undefined;
  #size = 0;

  get first(): T | undefined {
    return this.#first;
  }

  get size(): number {
    return this.#size;
  }

  add(one: T): void {
    const last = this.#last;
    one.before = last;
    if (last) last.after = one;
    else this.#first = one;
    this.#last = one;
    this.#size++;
  }

  /** Removes one that is in it. What is removed refers to nothing any more, so that it keeps nothing. */
  remove(one: T): void {
    const { before, after } = one;
    if (before) before.after = after;
    else this.#first = after;
    if (after) after.before = before;
    else this.#last = before;
    one.before = undefined;
    one.after = undefined;
    this.#size--;
  }

  /** As they are now; what is done with one may remove others. */
  [Symbol.iterator](): Iterator<T> {
    const all: T[] = [];
    for (let one = this.#first; one; one = one.after) all.push(one);
    return all.values();
  }
}
