/** The tasks of a reply that has many of them in one text: how many they are is known immediately, and they are unpacked when one is needed. */
import { readTexts } from './pack.ts';

/** A class: V8 would keep the getters of an object literal, and with them the tasks, until it collects all of its memory. */
export class PackedTasks<Delivery> {
  readonly length: number;
  /** Of all of them. */
  readonly bytes: number;
  readonly #packed: Buffer;
  readonly #deliver: (raw: Buffer, at: number) => Delivery;
  #deliveries: Delivery[] | undefined;

  /** `deliver`: the delivery of the task at a position. Throws for what is no packed array of texts. */
  constructor(packed: Buffer, deliver: (raw: Buffer, at: number) => Delivery) {
    let bytes = 0;
    this.length = readTexts(packed, (from, to) => void (bytes += to - from));
    this.bytes = bytes;
    this.#packed = packed;
    this.#deliver = deliver;
  }

  get deliveries(): readonly Delivery[] {
    return (this.#deliveries ??= this.#unpack());
  }

  #unpack(): Delivery[] {
    const packed = this.#packed;
    const deliver = this.#deliver;
    const unpacked: Delivery[] = [];
    readTexts(packed, (from, to) => void unpacked.push(deliver(packed.subarray(from, to), unpacked.length)));
    return unpacked;
  }
}
