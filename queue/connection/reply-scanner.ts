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

/** The part that the next byte belongs to. */
type Phase = 'type' | 'line' | 'line end' | 'bulk' | 'bulk CR' | 'bulk LF';

interface Scan {
  phase: Phase;
  type: ReplyType;
  /** Of the reply that is being read. */
  limits: ReplyLimits;
  cost: number;
  /** Elements outstanding in each open array. */
  open: number[];
  lineBytes: number;
  digits: string;
  bulkLeft: number;
  text: string;
  /** The outermost array. */
  top: ReplyPart & { readonly length: number };
  parts: ReplyPart[];
}

export function createReplyScanner({ limits, onFrame }: ReplyScannerOptions): ReplyScanner {
  const scan: Scan = {
    phase: 'type',
    type: 'text',
    limits: replyLimits,
    cost: 0,
    open: [],
    lineBytes: 0,
    digits: '',
    bulkLeft: 0,
    text: '',
    top: { type: 'text', nil: false, value: 0, text: '', length: 0 },
    parts: [],
  };
  return Object.assign(
    (chunk: Buffer) => {
      for (let at = 0; at < chunk.length;)
        if (scan.phase === 'line') at = readLine(scan, chunk, at);
        else if (scan.phase === 'bulk') at = readBulk(scan, chunk, at);
        else {
          const frame = readByte(scan, chunk[at++] ?? 0, limits);
          if (frame) onFrame(frame);
        }
    },
    { unfinished: () => unfinished(scan) },
  );
}

/** Of the bytes scanned last, those of an incomplete line or end of a text. */
function unfinished({ phase, lineBytes }: Scan): number {
  if (phase === 'line') return 1 + lineBytes;
  if (phase === 'line end') return 2 + lineBytes;
  return phase === 'bulk LF' ? 1 : 0;
}

/** Reads a line, as far as it has come; returns where to go on. */
function readLine(scan: Scan, chunk: Buffer, from: number): number {
  const end = chunk.indexOf(CR, from);
  const stop = end < 0 ? chunk.length : end;
  scan.lineBytes += stop - from;
  spend(scan, stop - from);
  const numeric = scan.type !== 'text' && scan.type !== 'error';
  if (scan.lineBytes > (numeric ? 20 : scan.limits.line))
    throw numeric
      ? new ReplyRefused('Malformed', 'a number of more than 20 digits')
      : new ReplyRefused('TooLarge', `a line of more than ${scan.limits.line} bytes was cut off`);
  if (numeric) scan.digits += chunk.toString('latin1', from, stop);
  if (end < 0) return stop;
  scan.phase = 'line end';
  return end + 1;
}

/** Skips a bulk string, as far as it has come; returns where to go on. */
function readBulk(scan: Scan, chunk: Buffer, from: number): number {
  const end = Math.min(chunk.length, from + scan.bulkLeft);
  if (scan.open.length === 1 && scan.text.length < SHORT_TEXT)
    scan.text += chunk.toString('latin1', from, Math.min(end, from + SHORT_TEXT));
  scan.bulkLeft -= end - from;
  if (scan.bulkLeft === 0) scan.phase = 'bulk CR';
  return end;
}

/** Reads a type or a byte of an end of line; returns the reply that is complete with it. */
function readByte(scan: Scan, byte: number, limits: () => ReplyLimits): ReplyFrame | undefined {
  spend(scan, 1);
  if (scan.phase === 'type') return begin(scan, byte, limits);
  if (byte !== (scan.phase === 'bulk CR' ? CR : LF))
    throw new ReplyRefused('Malformed', 'a line without CR LF at its end');
  if (scan.phase === 'line end') return endLine(scan);
  if (scan.phase === 'bulk LF')
    return complete(scan, { type: 'bulk', nil: false, value: 0, text: scan.text });
  scan.phase = 'bulk LF';
  return undefined;
}

function spend(scan: Scan, bytes: number): void {
  scan.cost += bytes;
  if (scan.cost > scan.limits.bytes)
    throw new ReplyRefused('TooLarge', `a reply of more than ${scan.limits.bytes} bytes was cut off`);
}

function begin(scan: Scan, byte: number, limits: () => ReplyLimits): undefined {
  const type = TYPES[byte];
  if (type === undefined) throw new ReplyRefused('Malformed', 'it does not send RESP2');
  if (scan.open.length === 0) {
    scan.limits = limits();
    scan.cost = 0;
    scan.parts = [];
  }
  scan.type = type;
  scan.lineBytes = 0;
  scan.digits = '';
  scan.text = '';
  scan.phase = 'line';
}

/** A line is complete: a value of its own, or the header of one. */
function endLine(scan: Scan): ReplyFrame | undefined {
  const { type, digits } = scan;
  if (type === 'text' || type === 'error') return complete(scan, { type, nil: false, value: 0, text: '' });
  if (!/^[+-]?\d+$/.test(digits)) throw new ReplyRefused('Malformed', 'a malformed number');
  const value = Number(digits);
  if (type === 'integer') return complete(scan, { type, nil: false, value, text: '' });
  if (digits === '-1') return complete(scan, { type, nil: true, value: 0, text: '' });
  if (!/^\d+$/.test(digits)) throw new ReplyRefused('Malformed', 'a negative length');
  if (type === 'array') return openArray(scan, value);
  spend(scan, value);
  scan.bulkLeft = value;
  scan.phase = value === 0 ? 'bulk CR' : 'bulk';
  return undefined;
}

function openArray(scan: Scan, length: number): ReplyFrame | undefined {
  const { open, parts, limits } = scan;
  spend(scan, length * ELEMENT_BYTES);
  if (open.length >= limits.depth)
    throw new ReplyRefused('TooLarge', `a reply nested deeper than ${limits.depth} levels was cut off`);
  const array = { type: 'array', nil: false, value: 0, text: '', length } as const;
  if (length === 0) return complete(scan, array);
  if (open.length === 0) scan.top = array;
  else if (open.length === 1 && parts.length < FIRST_PARTS) parts.push(array);
  open.push(length);
  scan.phase = 'type';
  return undefined;
}

/** A value is complete, and perhaps the arrays whose last element it is; returns the reply if that is complete, too. */
function complete(scan: Scan, part: ReplyPart & { readonly length?: number }): ReplyFrame | undefined {
  const { open, parts, top } = scan;
  scan.phase = 'type';
  if (open.length === 1 && parts.length < FIRST_PARTS) parts.push(part);
  if (open.length === 0) return { length: 0, ...part, parts };
  while (open.length > 0) {
    const left = (open.at(-1) ?? 0) - 1;
    open[open.length - 1] = left;
    if (left > 0) return undefined;
    open.pop();
  }
  return { ...top, parts };
}
