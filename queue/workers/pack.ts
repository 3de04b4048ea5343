/**
 * Packs values into one MessagePack buffer, which `cmsgpack.unpack` in a Redis script turns into Lua values. A script that takes
 * thousands of values is much cheaper to call with one such argument than with an argument for each of them.
 *
 * Only what scripts need, in the forms that Redis reads: text and bytes are both raw strings there, byte for byte
 * (https://github.com/msgpack/msgpack/blob/master/spec.md); numbers are whole and at least 0; `undefined` is left out of
 * objects.
 */
export type Packable = string | Buffer | number | readonly Packable[] | PackableObject;
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
  let buffer = Buffer.allocUnsafe(bytes);
  let at = 0;

  function reserve(room: number): void {
    if (at + room <= buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * buffer.length, at + room));
    buffer.copy(larger, 0, 0, at);
    buffer = larger;
  }

  /** The header of a sized value: the size is in the first byte, in two more or in four more. */
  function head(size: number, small: number, most: number, form16: number): void {
    reserve(5);
    if (size <= most) buffer[at++] = small | size;
    else if (size < 0x1_0000) {
      buffer[at++] = form16;
      at = buffer.writeUInt16BE(size, at);
    } else {
      buffer[at++] = form16 + 1;
      at = buffer.writeUInt32BE(size, at);
    }
  }
  const rawHead = (size: number): void => head(size, 0xa0, 31, 0xda);

  function text(value: string): void {
    if (value.length <= SHORT_TEXT) {
      reserve(value.length + 2);
      const end = writeAscii(buffer, at, value);
      if (end !== undefined) {
        at = end;
        return;
      }
    }
    const size = Buffer.byteLength(value);
    rawHead(size);
    reserve(size);
    at += buffer.write(value, at);
  }

  function raw(value: Buffer): void {
    rawHead(value.length);
    reserve(value.length);
    at += value.copy(buffer, at);
  }

  /** Most values are short texts: a loop over local variables, without a call for each of them. */
  function array(values: readonly Packable[]): void {
    head(values.length, 0x90, 15, 0xdc);
    for (let i = 0; i < values.length; i++) {
      const into = buffer;
      let to = at;
      for (; i < values.length; i++) {
        const value = values[i];
        if (typeof value !== 'string' || value.length > SHORT_TEXT || to + SHORT_TEXT + 2 > into.length)
          break;
        const end = writeAscii(into, to, value);
        if (end === undefined) break;
        to = end;
      }
      at = to;
      if (i < values.length) any(values[i] as Packable);
    }
  }

  function number(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new RangeError(`${value} cannot be packed: give a whole number that is not negative`);
    reserve(9);
    if (value < 0x80) buffer[at++] = value;
    else if (value < 0x1_0000_0000) {
      buffer[at++] = 0xce;
      at = buffer.writeUInt32BE(value, at);
    } else {
      // a double: what a number in Lua is anyway
      buffer[at++] = 0xcb;
      at = buffer.writeDoubleBE(value, at);
    }
  }

  function object(value: PackableObject): void {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined);
    head(fields.length, 0x80, 15, 0xde);
    for (const [name, field] of fields) {
      text(name);
      any(field as Packable);
    }
  }

  function any(value: Packable): void {
    if (typeof value === 'string') text(value);
    else if (typeof value === 'number') number(value);
    else if (Buffer.isBuffer(value)) raw(value);
    else if (Array.isArray(value)) array(value as readonly Packable[]);
    else object(value as PackableObject);
  }

  any(root);
  return buffer.subarray(0, at);
}

/**
 * Writes a short text at this position, if it is all ASCII: its bytes need not be counted first. Returns the position after it, or
 * `undefined` if it is not.
 */
function writeAscii(into: Buffer, at: number, value: string): number | undefined {
  const { length } = value;
  let to = at;
  if (length <= 31) into[to++] = 0xa0 | length;
  else {
    into[to++] = 0xd9;
    into[to++] = length;
  }
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if (code > 0x7f) return undefined;
    into[to++] = code;
  }
  return to;
}

/** The texts in an array that `cmsgpack.pack` has made of them: views of `packed`, not copies. Throws for anything else. */
export function unpackTexts(packed: Buffer): Buffer[] {
  const odd = (): never => {
    throw new Error('Redis replied something else than a packed array of texts');
  };
  const first = packed[0] ?? 0;
  const wide = first === 0xdc ? 2 : first === 0xdd ? 4 : 0;
  if (wide === 0 && first >> 4 !== 0x9) odd();
  const count = wide > 0 ? wholeAt(packed, 1, wide) : first & 0xf;
  const texts: Buffer[] = [];
  let at = 1 + wide;
  for (let i = 0; i < count; i++) {
    const head = packed[at++] ?? 0;
    let size = head & 0x1f;
    if (head >= 0xd9 && head <= 0xdb) {
      const bytes = 1 << (head - 0xd9);
      size = wholeAt(packed, at, bytes);
      at += bytes;
    } else if (head >> 5 !== 0x5) odd();
    if (at + size > packed.length) odd();
    texts.push(packed.subarray(at, (at += size)));
  }
  return texts;
}

/** A number of so many bytes, the highest first. */
function wholeAt(packed: Buffer, at: number, bytes: number): number {
  let value = 0;
  for (let i = at; i < at + bytes; i++) value = value * 256 + (packed[i] ?? 0);
  return value;
}
