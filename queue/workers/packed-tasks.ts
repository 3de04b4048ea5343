/** The tasks of a reply that has many of them in one text: how many they are is known immediately, and each is unpacked when it is needed. */
import { TextReader } from './pack.ts';

/** The delivery of a task, by its bytes or by its text, at a position. */
type Deliver<Delivery> = (task: Buffer | string, at: number) => Delivery;

/** A class: V8 would keep the getters of an object literal, and with them the tasks, until it collects all of its memory. */
export class PackedTasks<Delivery> {
  readonly length: number;
  /** Of all of them. */
  readonly bytes: number;
  readonly #packed: Buffer;
  readonly #deliver: Deliver<Delivery>;
  /** At those that were not taken yet. */
  readonly #texts: TextReader;
  #taken = 0;
  /** Bytes above 0x7f between the tasks: in what says how long they are. */
  readonly #high: number;
  /** A character for each byte, if the tasks are all ASCII; `undefined` before it is known. */
  #text: string | false | undefined;

  /** Throws for what is no packed array of texts. Where all of them are ASCII, `deliver` is given texts. */
  constructor(packed: Buffer, deliver: Deliver<Delivery>) {
    const texts = new TextReader(packed);
    this.#texts = texts.copy();
    let bytes = 0;
    let high = 0;
    let end = 0;
    while (texts.next()) {
      for (; end < texts.from; end++) if ((packed[end] ?? 0) > 0x7f) high++;
      end = texts.to;
      bytes += texts.to - texts.from;
    }
    this.length = texts.length;
    this.bytes = bytes;
    this.#high = high;
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
    if (!texts.next()) return undefined;
    const text = (this.#text ??= this.#asText());
    const { from, to } = texts;
    return this.#deliver(text === false ? this.#packed.subarray(from, to) : text.slice(from, to), at);
  }

  /** One text for all, because a slice of it is made faster than a text of each. */
  #asText(): string | false {
    const text = this.#packed.toString('latin1');
    // in UTF-8, two bytes are a character of a byte above 0x7f
    return Buffer.byteLength(text) - text.length === this.#high ? text : false;
  }
}
