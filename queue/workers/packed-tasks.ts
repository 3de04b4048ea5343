/** The tasks of a reply that has many of them in one text: how many they are is known immediately, and each is unpacked when it is needed. */
import { TextReader } from './pack.ts';

/** A class: V8 would keep the getters of an object literal, and with them the tasks, until it collects all of its memory. */
export class PackedTasks<Delivery> {
  readonly length: number;
  /** Of all of them. */
  readonly bytes: number;
  readonly #packed: Buffer;
  readonly #deliver: (raw: Buffer, at: number) => Delivery;
  /** At those that were not taken yet. */
  readonly #texts: TextReader;
  #taken = 0;

  /** `deliver`: the delivery of the task at a position. Throws for what is no packed array of texts. */
  constructor(packed: Buffer, deliver: (raw: Buffer, at: number) => Delivery) {
    const texts = new TextReader(packed);
    this.#texts = texts.copy();
    let bytes = 0;
    while (texts.next()) bytes += texts.to - texts.from;
    this.length = texts.length;
    this.bytes = bytes;
    this.#packed = packed;
    this.#deliver = deliver;
  }

  /** The next one. */
  take(): Delivery | undefined {
    return this.#next(this.#texts, this.#taken++);
  }

  /** Those that were not taken yet. */
  get deliveries(): readonly Delivery[] {
    const texts = this.#texts.copy();
    return Array.from(
      { length: this.length - this.#taken },
      (_, i) => this.#next(texts, this.#taken + i) as Delivery,
    );
  }

  #next(texts: TextReader, at: number): Delivery | undefined {
    return texts.next() ? this.#deliver(this.#packed.subarray(texts.from, texts.to), at) : undefined;
  }
}
