/** The lines of `millrace map` without a Redis: their order, how far they go ahead, and how the whole ends. */
import { describe, expect, test } from 'vitest';
import { mapLines, type Limits, type Line, type MapOptions, type Outcome } from '../../cli/map/lines.ts';

interface Begun {
  readonly line: Line;
  readonly end: (outcome: Outcome) => void;
  readonly refuse: (error: Error) => void;
}

/** A place where each line waits until the test ends it. */
function createPlace() {
  const begun: Begun[] = [];
  const begin: MapOptions['begin'] = (lines) =>
    lines.map((line) => {
      const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
      begun.push({ line, end: resolve, refuse: reject });
      return promise;
    });
  return { begun, begin, numbers: () => begun.map(({ line }) => line.number) };
}

async function* input(count: number, size = 1): AsyncGenerator<Line[]> {
  await Promise.resolve();
  for (let number = 1; number <= count; number += 100)
    yield Array.from({ length: Math.min(100, count - number + 1) }, (_, i) => ({
      number: number + i,
      bytes: Buffer.alloc(size, 'x'),
    }));
}

interface Given extends Partial<MapOptions> {
  readonly count: number;
  readonly size?: number;
}

function start({ count, size, ...more }: Given) {
  const place = createPlace();
  const stop = new AbortController();
  const run = mapLines({
    lines: input(count, size),
    ordered: true,
    recall: () => Promise.resolve(undefined),
    begin: place.begin,
    signal: stop.signal,
    ...more,
  });
  return { ...place, stop, run };
}

/** Numbers of the lines, until `count` have come or it is over. */
async function take(run: ReturnType<typeof mapLines>, count: number): Promise<number[]> {
  const numbers: number[] = [];
  while (numbers.length < count) {
    const { value, done } = await run.next();
    if (done) break;
    numbers.push(...value.map(({ line }) => line.number));
  }
  return numbers;
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const value = Buffer.from('r');

test('results come in the order of the lines, whichever ends first', async () => {
  const { begun, run } = start({ count: 4 });
  const first = take(run, 4);
  await settled();
  for (const at of [3, 1, 2]) begun[at]?.end(value);
  await settled();
  begun[0]?.end(value);
  expect(await first).toEqual([1, 2, 3, 4]);
  expect((await run.next()).done).toBe(true);
});

test('unordered, they come as they end', async () => {
  const { begun, run } = start({ count: 3, ordered: false });
  const first = take(run, 1);
  await settled();
  begun[2]?.end(value);
  expect(await first).toEqual([3]);
  begun[0]?.end(new Error('no'));
  begun[1]?.end(value);
  expect((await take(run, 2)).toSorted((a, b) => a - b)).toEqual([1, 2]);
  expect((await run.next()).done).toBe(true);
});

test('an input without lines is over', async () => {
  expect((await start({ count: 0 }).run.next()).done).toBe(true);
});

describe('no more is begun than may be held', () => {
  const few: Limits = { lines: 3, bytes: 1_000_000 };

  test.each([
    ['lines', 3, { limits: few }],
    ['bytes of lines', 2, { size: 600, limits: { lines: 100, bytes: 1_000 } }],
  ])('by %s', async (_, most, more) => {
    const { begun, run, numbers } = start({ count: 10, ...more });
    const first = run.next();
    await settled();
    expect(numbers()).toHaveLength(most);
    // the first line holds up the rest, although others have ended
    for (const { end } of begun.slice(1)) end(value);
    await settled();
    expect(numbers()).toHaveLength(most);
    begun[0]?.end(value);
    await first;
    const second = run.next();
    await settled();
    expect(numbers().length).toBeGreaterThan(most);
    for (let i = most; i < 10; i++) {
      begun[i]?.end(value);
      await settled();
    }
    await second;
    await run.return(undefined);
  });

  test('by the size of results so far', async () => {
    const limits = { lines: 150, bytes: 1_000 };
    const { begun, run, numbers, stop } = start({ count: 300, limits, ordered: false });
    const first = take(run, 149);
    await settled();
    expect(numbers()).toHaveLength(150);
    for (const { end } of begun.slice(0, 149)) end(Buffer.alloc(400));
    await first;
    const next = run.next();
    await settled();
    // three results of 400 bytes would be too many
    expect(numbers()).toHaveLength(152);
    stop.abort(new Error('enough'));
    await expect(next).rejects.toThrow('enough');
  });
});

test('a result that is known is not run again', async () => {
  const recall = (line: Line): Promise<Buffer | undefined> =>
    Promise.resolve(line.number === 2 ? undefined : Buffer.from(`old ${line.number}`));
  const { begun, run, numbers } = start({ count: 3, recall });
  const first = take(run, 3);
  await settled();
  expect(numbers()).toEqual([2]);
  begun[0]?.end(value);
  expect(await first).toEqual([1, 2, 3]);
});

describe('the whole ends with', () => {
  test('the error of a place that is gone', async () => {
    const { begun, run } = start({ count: 2 });
    const first = run.next();
    await settled();
    begun[1]?.refuse(new Error('the server is gone'));
    await expect(first).rejects.toThrow('the server is gone');
  });

  test('the error of an input that cannot be read', async () => {
    const lines = (async function* (): AsyncGenerator<Line[]> {
      yield [{ number: 1, bytes: Buffer.from('a') }];
      await Promise.resolve();
      throw new Error('EIO');
    })();
    const { run } = start({ count: 0, lines });
    await expect(run.next()).rejects.toThrow('EIO');
  });

  test('the reason of the signal, also while it waits', async () => {
    const { stop, run } = start({ count: 2 });
    const first = run.next();
    await settled();
    stop.abort(new Error('Ctrl-C'));
    await expect(first).rejects.toThrow('Ctrl-C');
  });
});
