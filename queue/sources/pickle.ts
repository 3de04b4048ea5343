/**
 * Plain data in Python's pickle format, protocols 2 to 5: texts, numbers, booleans, None, lists, tuples and dicts. Celery's workers answer in
 * it where `task_serializer` says so. Nothing else is read, objects of classes least of all: no code can be in it. Pure.
 *
 * A pickle is a program for a machine with a stack and a memo: see Python's pickletools.
 */

const MARK = Symbol('mark');

interface Machine {
  readonly stack: unknown[];
  readonly memo: Map<number, unknown>;
  /** The next bytes. Throws `RangeError` where the pickle ends before. */
  readonly take: (length: number) => Buffer;
}

type Step = (machine: Machine) => void;

const push =
  (value: (machine: Machine) => unknown): Step =>
  (machine) =>
    void machine.stack.push(value(machine));
const number = (bytes: Buffer): number => bytes.readUIntLE(0, bytes.length);
const text = (size: number): Step => push(({ take }) => take(number(take(size))).toString());
const remember =
  (at: (machine: Machine) => number): Step =>
  (machine) =>
    void machine.memo.set(at(machine), machine.stack.at(-1));
const recall = (size: number): Step => push(({ memo, take }) => memo.get(number(take(size))));
const tuple = (size: number): Step => push(({ stack }) => stack.splice(-size, size));

const STEPS: Readonly<Record<string, Step>> = {
  '\x80': ({ take }) => void take(1), // the protocol
  '\x95': ({ take }) => void take(8), // the length of a frame
  '(': push(() => MARK),
  N: push(() => null),
  '\x88': push(() => true),
  '\x89': push(() => false),
  K: push(({ take }) => number(take(1))),
  M: push(({ take }) => number(take(2))),
  J: push(({ take }) => take(4).readInt32LE()),
  '\x8a': push(({ take }) => long(take(number(take(1))))),
  G: push(({ take }) => take(8).readDoubleBE()),
  '\x8c': text(1),
  X: text(4),
  ']': push(() => []),
  ')': push(() => []),
  '}': push(() => Object.create(null) as object),
  '\x85': tuple(1),
  '\x86': tuple(2),
  '\x87': tuple(3),
  t: push(sinceMark),
  a: (machine) => append(machine, [machine.stack.pop()]),
  e: (machine) => append(machine, sinceMark(machine)),
  s: (machine) => setItems(machine, machine.stack.splice(-2, 2)),
  u: (machine) => setItems(machine, sinceMark(machine)),
  '\x94': remember(({ memo }) => memo.size),
  q: remember(({ take }) => number(take(1))),
  r: remember(({ take }) => number(take(4))),
  h: recall(1),
  j: recall(4),
};

/** Throws `RangeError` for anything else than plain data. Dicts have no prototype. */
export function readPickle(bytes: Buffer): unknown {
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new RangeError('the pickle ends too early');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const machine: Machine = { stack: [], memo: new Map(), take };
  for (;;) {
    const code = take(1).toString('latin1');
    if (code === '.') return machine.stack.pop();
    const step = STEPS[code];
    if (!step) throw new RangeError(`the pickle has more than plain data (${JSON.stringify(code)})`);
    step(machine);
  }
}

function sinceMark({ stack }: Machine): unknown[] {
  const from = stack.lastIndexOf(MARK);
  if (from < 0) throw new RangeError('the pickle closes what it has not opened');
  return stack.splice(from).slice(1);
}

function append({ stack }: Machine, values: readonly unknown[]): void {
  const list = stack.at(-1);
  if (!Array.isArray(list)) throw new RangeError('the pickle appends to what is no list');
  for (const value of values) list.push(value);
}

function setItems({ stack }: Machine, pairs: readonly unknown[]): void {
  const dict = stack.at(-1);
  if (typeof dict !== 'object' || dict === null || Array.isArray(dict))
    throw new RangeError('the pickle sets items of what is no dict');
  for (let i = 0; i + 1 < pairs.length; i += 2)
    (dict as Record<string, unknown>)[String(pairs[i])] = pairs[i + 1];
}

/** Of any length, with a sign; little-endian. */
function long(bytes: Buffer): number {
  let value = 0n;
  for (const [i, byte] of bytes.entries()) value += BigInt(byte) << BigInt(8 * i);
  return Number(BigInt.asIntN(Math.max(8, 8 * bytes.length), value));
}
