/**
 * Measures replies before they are decoded: byte by byte, without buffering them. The memory that a reply would take is known
 * from its headers, so one that announces too much is refused when its header arrives, not when it is complete.
 *
 * RESP2 only, and strictly: a decoder that is more lenient than this one sees the same frames, or none. Pure.
 */
export interface ReplyLimits {
  /** Limit on the cost of one reply, bytes: its own, and ELEMENT_BYTES for each element that an array announces. */
  readonly bytes: number;
  /** Arrays within arrays. */
  readonly depth: number;
  /** Errors and other lines, bytes. */
  readonly line: number;
}

export const replyLimits: ReplyLimits = { bytes: 1_048_576, depth: 8, line: 4_096 };

/** Overhead of a decoded element. */
const ELEMENT_BYTES = 32;

export type ReplyType = 'text' | 'error' | 'integer' | 'bulk' | 'array';

/** The form of one value of a reply. */
export interface ReplyPart {
  readonly type: ReplyType;
  readonly nil: boolean;
  /** Of an integer. */
  readonly value: number;
  /** Of a bulk string among the first parts, when it is short. */
  readonly text: string;
}

/** A whole reply: its own form, and that of its first few elements where it is an array. */
export interface ReplyFrame extends ReplyPart {
  readonly length: number;
  readonly parts: readonly ReplyPart[];
}

/** A reply exceeded the limits, or is not RESP2. */
export class ReplyRefused extends Error {
  override name = 'ReplyRefused';
  readonly kind: 'TooLarge' | 'Malformed';
  constructor(kind: 'TooLarge' | 'Malformed', what: string) {
    super(what);
    this.kind = kind;
  }
}

export interface ReplyScannerOptions {
  /** Called at the beginning of each reply. */
  readonly limits: () => ReplyLimits;
  /** Called with each complete reply; what it throws is thrown by `scan`. */
  readonly onFrame: (frame: ReplyFrame) => void;
}

const TYPES: Readonly<Record<number, ReplyType>> = {
  0x2b: 'text',
  0x2d: 'error',
  0x3a: 'integer',
  0x24: 'bulk',
  0x2a: 'array',
};
const CR = 0x0d;
const LF = 0x0a;
const FIRST_PARTS = 3;
const SHORT_TEXT = 16;

export interface ReplyScanner {
  /** Takes the bytes as they arrive. Throws `ReplyRefused`, and is unusable afterwards. */
  (chunk: Buffer): void;
  /**
   * Number of trailing bytes to withhold from a decoder: one that does not wait for the end of a line would take them for a whole
   * reply, which has not been checked.
   */
  unfinished(): number;
}

export function createReplyScanner({ limits: limitsNow, onFrame }: ReplyScannerOptions): ReplyScanner {
  let state: 'type' | 'line' | 'line end' | 'bulk' | 'bulk CR' | 'bulk LF' = 'type';
  let type: ReplyType = 'text';
  let limits = replyLimits;
  let cost = 0;
  /** Elements outstanding in each open array. */
  let open: number[] = [];
  let lineBytes = 0;
  let digits = '';
  let bulkLeft = 0;
  let top: ReplyPart & { readonly length: number } = { type, nil: false, value: 0, text: '', length: 0 };
  let parts: ReplyPart[] = [];
  let text = '';

  function spend(bytes: number): void {
    cost += bytes;
    if (cost > limits.bytes)
      throw new ReplyRefused('TooLarge', `a reply of more than ${limits.bytes} bytes was cut off`);
  }

  function begin(byte: number): void {
    const found = TYPES[byte];
    if (found === undefined) throw new ReplyRefused('Malformed', 'it does not send RESP2');
    if (open.length === 0) {
      limits = limitsNow();
      cost = 0;
      parts = [];
    }
    type = found;
    lineBytes = 0;
    digits = '';
    text = '';
    state = 'line';
  }

  function readLine(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(CR, from);
    const stop = end < 0 ? chunk.length : end;
    lineBytes += stop - from;
    spend(stop - from);
    const numeric = type !== 'text' && type !== 'error';
    if (lineBytes > (numeric ? 20 : limits.line))
      throw numeric
        ? new ReplyRefused('Malformed', 'a number of more than 20 digits')
        : new ReplyRefused('TooLarge', `a line of more than ${limits.line} bytes was cut off`);
    if (numeric) digits += chunk.toString('latin1', from, stop);
    if (end >= 0) state = 'line end';
    return end < 0 ? stop : end + 1;
  }

  function endLine(): void {
    if (type === 'text' || type === 'error') return complete({ type, nil: false, value: 0, text: '' });
    if (!/^[+-]?\d+$/.test(digits)) throw new ReplyRefused('Malformed', 'a malformed number');
    const value = Number(digits);
    if (type === 'integer') return complete({ type, nil: false, value, text: '' });
    if (digits === '-1') return complete({ type, nil: true, value: 0, text: '' });
    if (!/^\d+$/.test(digits)) throw new ReplyRefused('Malformed', 'a negative length');
    if (type === 'bulk') {
      spend(value);
      bulkLeft = value;
      state = value === 0 ? 'bulk CR' : 'bulk';
      return;
    }
    spend(value * ELEMENT_BYTES);
    if (open.length >= limits.depth)
      throw new ReplyRefused('TooLarge', `a reply nested deeper than ${limits.depth} levels was cut off`);
    const array = { type, nil: false, value: 0, text: '', length: value };
    if (value === 0) return complete(array);
    if (open.length === 0) top = array;
    else if (open.length === 1 && parts.length < FIRST_PARTS) parts.push(array);
    open.push(value);
    state = 'type';
  }

  /** A value is complete, and perhaps the arrays whose last element it is. */
  function complete(part: ReplyPart & { readonly length?: number }): void {
    state = 'type';
    if (open.length === 1 && parts.length < FIRST_PARTS) parts.push(part);
    while (open.length > 0) {
      const left = (open.at(-1) ?? 0) - 1;
      open[open.length - 1] = left;
      if (left > 0) return;
      open.pop();
      if (open.length === 0) return onFrame({ ...top, parts });
    }
    onFrame({ length: 0, ...part, parts });
  }

  const scan = (chunk: Buffer): void => {
    for (let at = 0; at < chunk.length;) {
      if (state === 'line') {
        at = readLine(chunk, at);
      } else if (state === 'bulk') {
        const end = Math.min(chunk.length, at + bulkLeft);
        if (open.length === 1 && text.length < SHORT_TEXT)
          text += chunk.toString('latin1', at, Math.min(end, at + SHORT_TEXT));
        bulkLeft -= end - at;
        at = end;
        if (bulkLeft === 0) state = 'bulk CR';
      } else {
        const byte = chunk[at++] ?? 0;
        spend(1);
        if (state === 'type') begin(byte);
        else if (byte !== (state === 'bulk CR' ? CR : LF))
          throw new ReplyRefused('Malformed', 'a line without CR LF at its end');
        else if (state === 'bulk CR') state = 'bulk LF';
        else if (state === 'bulk LF') complete({ type: 'bulk', nil: false, value: 0, text });
        else endLine();
      }
    }
  };

  /** Of the bytes scanned last, those of an incomplete line or end of a text. */
  const unfinished = (): number => {
    if (state === 'line') return 1 + lineBytes;
    if (state === 'line end') return 2 + lineBytes;
    return state === 'bulk LF' ? 1 : 0;
  };
  return Object.assign(scan, { unfinished });
}
