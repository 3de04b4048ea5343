/**
 * Packs values into one MessagePack buffer, which `cmsgpack.unpack` in a Redis script turns into Lua values. A script that takes
 * thousands of values is much cheaper to call with one such argument than with an argument for each of them.
 *
 * Only what scripts need, in the forms that Redis reads: text and bytes are both raw strings there, byte for byte
 * (https://github.com/msgpack/msgpack/blob/master/spec.md); numbers are whole and at least 0; `undefined` is left out of
 * objects.
 */
export type Packable = string | Buffer | number | readonly Packable[] | PackedList | PackableObject;
export interface PackableObject {
  readonly [field: string]: Packable | undefined;
}

const FIRST_BYTES = 4_096;
/** Up to here, a loop over the characters is faster than a call into the runtime. */
const SHORT_TEXT = 64;

/**
 * Packs a value. Throws `RangeError` for a number that is negative, not whole or beyond 2^53. `bytes`: its expected size, for which it is not
 * moved as it grows.
 */
export function pack(root: Packable, bytes = FIRST_BYTES): Buffer {
  const packer = new Packer(bytes);
  packer.any(root);
  return packer.packed;
}

/** A list for a field that is left out where it is empty. */
export function listed<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length > 0 ? list : undefined;
}

/** An array that is packed before the request that it is a part of: then little is left to do when that is sent. */
export class PackedList {
  length = 0;
  readonly #packer: Packer;

  /** `bytes`: its expected size. */
  constructor(bytes: number) {
    this.#packer = new Packer(bytes);
  }

  push(value: string | Buffer | number): void {
    if (typeof value === 'string') this.#packer.text(value);
    else this.#packer.any(value);
    this.length++;
  }

  /** The values, without the header of the array. */
  get packed(): Buffer {
    return this.#packer.packed;
  }
}

class Packer {
  #buffer: Buffer;
  #at = 0;

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafe(bytes);
  }

  get packed(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  any(value: Packable): void {
    if (typeof value === 'string') this.text(value);
    else if (typeof value === 'number') this.#number(value);
    else if (Buffer.isBuffer(value)) this.#raw(value);
    else if (Array.isArray(value)) this.#array(value as readonly Packable[]);
    else if (value instanceof PackedList) this.#list(value);
    else this.#object(value as PackableObject);
  }

  #reserve(room: number): void {
    if (this.#at + room <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#at + room));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }

  /** The header of a sized value: the size is in the first byte, in two more or in four more. */
  #head(size: number, small: number, most: number, form16: number): void {
    this.#reserve(5);
    if (size <= most) this.#buffer[this.#at++] = small | size;
    else if (size < 0x1_0000) {
      this.#buffer[this.#at++] = form16;
      this.#at = this.#buffer.writeUInt16BE(size, this.#at);
    } else {
      this.#buffer[this.#at++] = form16 + 1;
      this.#at = this.#buffer.writeUInt32BE(size, this.#at);
    }
  }

  #rawHead(size: number): void {
    this.#head(size, 0xa0, 31, 0xda);
  }

  /** Most values are short texts. */
  text(value: string): void {
    const { length } = value;
    if (length <= SHORT_TEXT) {
      this.#reserve(length + 2);
      const end = writeAscii(this.#buffer, this.#at, value, length);
      if (end > 0) {
        this.#at = end;
        return;
      }
    }
    this.#anyText(value);
  }

  #anyText(value: string): void {
    const size = Buffer.byteLength(value);
    this.#rawHead(size);
    this.#reserve(size);
    this.#at += this.#buffer.write(value, this.#at);
  }

  #raw(value: Buffer): void {
    this.#rawHead(value.length);
    this.#bytes(value);
  }

  #bytes(value: Buffer): void {
    this.#reserve(value.length);
    this.#at += value.copy(this.#buffer, this.#at);
  }

  #arrayHead(length: number): void {
    this.#head(length, 0x90, 15, 0xdc);
  }

  #array(values: readonly Packable[]): void {
    this.#arrayHead(values.length);
    for (const value of values) this.any(value);
  }

  #list({ length, packed }: PackedList): void {
    this.#arrayHead(length);
    this.#bytes(packed);
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new RangeError(`${value} cannot be packed: give a whole number that is not negative`);
    this.#reserve(9);
    if (value < 0x80) this.#buffer[this.#at++] = value;
    else if (value < 0x1_0000_0000) {
      this.#buffer[this.#at++] = 0xce;
      this.#at = this.#buffer.writeUInt32BE(value, this.#at);
    } else {
      // a double: what a number in Lua is anyway
      this.#buffer[this.#at++] = 0xcb;
      this.#at = this.#buffer.writeDoubleBE(value, this.#at);
    }
  }

  #object(value: PackableObject): void {
    const names = Object.keys(value).filter((name) => value[name] !== undefined);
    this.#head(names.length, 0x80, 15, 0xde);
    for (const name of names) {
      this.text(name);
      this.any(value[name] as Packable);
    }
  }
}

/**
 * Writes a short text at this position, if it is all ASCII: its bytes need not be counted first. Returns the position after it, or
 * 0 if it is not.
 */
function writeAscii(into: Buffer, at: number, value: string, length: number): number {
  let to = at;
  if (length <= 31) into[to++] = 0xa0 | length;
  else {
    into[to++] = 0xd9;
    into[to++] = length;
  }
  for (let i = 0; i < length; i++) {
    // not as a property of the text, which V8 would look up for each character: there are more kinds of texts (slices,
    // concatenations) than its inline caches have room for
    const code = String.prototype.charCodeAt.call(value, i);
    if (code > 0x7f) return 0;
    into[to++] = code;
  }
  return to;
}

/** Reads the texts of an array that `cmsgpack.pack` has made of them, one after the other. */
export class TextReader {
  readonly length: number;
  /** Where the text that was read last begins and ends. */
  from = 0;
  to: number;
  #left: number;
  readonly #packed: Buffer;

  /** Throws for what is no such array, as `next` does. */
  constructor(packed: Buffer) {
    const first = packed[0] ?? 0;
    const wide = first === 0xdc ? 2 : first === 0xdd ? 4 : 0;
    if (wide === 0 && first >> 4 !== 0x9) throw odd();
    this.length = wide > 0 ? wholeAt(packed, 1, wide) : first & 0xf;
    this.to = 1 + wide;
    this.#left = this.length;
    this.#packed = packed;
  }

  /** Returns whether there was one more. */
  next(): boolean {
    if (this.#left === 0) return false;
    const packed = this.#packed;
    let at = this.to;
    const head = packed[at++] ?? 0;
    let size = head & 0x1f;
    if (head >= 0xd9 && head <= 0xdb) {
      const bytes = 1 << (head - 0xd9);
      size = wholeAt(packed, at, bytes);
      at += bytes;
    } else if (head >> 5 !== 0x5) throw odd();
    if (at + size > packed.length) throw odd();
    this.from = at;
    this.to = at + size;
    this.#left--;
    return true;
  }

  /** One that goes on where this one is. */
  copy(): TextReader {
    const copy = new TextReader(this.#packed);
    copy.to = this.to;
    copy.#left = this.#left;
    return copy;
  }
}

function odd(): Error {
  return new Error('Redis replied something else than a packed array of texts');
}

/** A number of so many bytes, the highest first. */
function wholeAt(packed: Buffer, at: number, bytes: number): number {
  let value = 0;
  for (let i = at; i < at + bytes; i++) value = value * 256 + (packed[i] ?? 0);
  return value;
}
