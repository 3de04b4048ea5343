/**
 * The results of a turn in the form in which it sends them. Most are packed while Redis is at the turn before, which would otherwise wait for it.
 */
import { PackedList } from './pack.ts';

/** An id or a value of this size is an argument of its own: it is not copied, and the packed argument stays small. */
const LONG = 4_096;

interface Result {
  readonly receipt: string;
  readonly id: string | Buffer;
  readonly value: string | Buffer;
  readonly unique?: string | undefined;
}

export class PackedResults {
  /** The results are in a hash on another server already: the values are left out. */
  readonly stored: boolean;
  readonly receipts: PackedList;
  /** Id and value of each. */
  readonly results: PackedList;
  /** The keys that some of them had. */
  readonly unique: { readonly receipt: string; readonly id: string | Buffer; readonly key: string }[] = [];
  /** The arguments that follow the packed one. */
  readonly long: (string | Buffer)[] = [];

  /** `count`: the expected number. */
  constructor(stored: boolean, count: number) {
    this.stored = stored;
    this.receipts = new PackedList(16 * count);
    this.results = new PackedList(32 * count);
  }

  /** Adds those of `results` that follow the first `from`. */
  add(results: readonly Result[], from = 0): void {
    for (let i = from; i < results.length; i++) {
      const { receipt, id, value, unique } = results[i] as Result;
      this.receipts.push(receipt);
      this.results.push(shortened(id, this.long));
      this.results.push(this.stored ? '' : shortened(value, this.long));
      if (unique !== undefined) this.unique.push({ receipt, id, key: unique });
    }
  }

  /** Of the packed argument's. */
  get bytes(): number {
    return this.receipts.packed.length + this.results.packed.length;
  }
}

/** A value as it is packed: a long one as the number of the argument that it is added to. The packed argument is the first of them. */
export function shortened(value: string | Buffer, long: (string | Buffer)[]): string | Buffer | number {
  return value.length < LONG ? value : long.push(value) + 1;
}
