/** What pack.ts writes, read by the server that it is for. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { pack, PackedList, type Packable } from '../../queue/workers/pack.ts';
import { PackedTasks } from '../../queue/workers/packed-tasks.ts';
import { noPast } from '../../queue/workers/past.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

/** What Lua finds in it: an expression about `it`. */
async function inLua(expression: string, value: Packable): Promise<unknown> {
  return redis.callBuffer('EVAL', `local it = cmsgpack.unpack(ARGV[1]) return ${expression}`, 0, pack(value));
}

/** The texts of an array that the server has packed, and what they were delivered as. */
const deliveredAs = new Set<string>();
function textsIn(reply: unknown): Buffer[] {
  deliveredAs.clear();
  const tasks = new PackedTasks(reply as Buffer, (task, at) => {
    deliveredAs.add(typeof task);
    return { receipt: String(at), raw: Buffer.from(task as string), past: noPast };
  });
  const { deliveries } = tasks;
  expect(tasks.length).toBe(deliveries.length);
  expect(tasks.bytes).toBe(deliveries.reduce((sum, { raw }) => sum + raw.length, 0));
  expect(deliveries.every(({ receipt }, i) => receipt === String(i))).toBe(true);
  return deliveries.map(({ raw }) => raw);
}

const sizes = [0, 1, 31, 32, 64, 65, 255, 256, 4_095, 4_096, 65_535, 65_536, 1_048_577];

test.each(sizes)('%i bytes of any kind, as text and as a buffer', async (size) => {
  const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
  const texts = ['x', 'é', '€', '🌾'].map((letter) => letter.repeat(Math.ceil(size / letter.length)));
  const all = [bytes, ...texts.map((text) => Buffer.from(text))];
  const found = (await inLua('it', [bytes, ...texts])) as Buffer[];
  expect(found.map((value, i) => value.equals(all[i] as Buffer))).toEqual(all.map(() => true));
});

test.each([0, 1, 127, 128, 255, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1])(
  'the number %i',
  async (number) => {
    expect(String(await inLua('string.format("%.0f", it)', number))).toBe(String(number));
  },
);

test.each([-1, 0.5, NaN, Infinity, 2 ** 53])('the number %d is refused', (number) => {
  expect(() => pack(number)).toThrow(RangeError);
});

test.each([0, 1, 15, 16, 65_535, 65_536])('an array of %i', async (length) => {
  const array = Array.from({ length }, (_, i) => i % 100);
  expect(await inLua('{#it, it[#it]}', array)).toEqual(length === 0 ? [0] : [length, (length - 1) % 100]);
});

test.each([0, 1, 15, 16, 65_535, 65_536])('an array of %i values that came one by one', async (length) => {
  const values = Array.from(
    { length },
    (_, i) => [i % 100, `text ${i}`, Buffer.from([i & 0xff])][i % 3] ?? 0,
  );
  const list = new PackedList(0);
  for (const value of values) list.push(value);
  expect(list.length).toBe(length);
  expect(pack(list)).toEqual(pack(values));
  expect(pack({ list, after: 'it' })).toEqual(pack({ list: values, after: 'it' }));
});

test('objects in arrays in objects; undefined values are left out', async () => {
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`field ${i}`, i]));
  const value = { name: 'a', missing: undefined, list: [{ id: 'b' }, { id: Buffer.from('c') }], many };
  const found = await inLua(
    '{it.name, it.missing == nil, it.list[1].id, it.list[2].id, it.many["field 19"]}',
    value,
  );
  expect((found as unknown[]).map(String)).toEqual(['a', '1', 'b', 'c', '19']);
});

test.each([0, 1, 15, 16, 65_535, 65_536])('an array of %i texts, packed by the server', async (length) => {
  const reply = await redis.callBuffer(
    'EVAL',
    'local all = {} for i = 1, tonumber(ARGV[1]) do all[i] = "text " .. i end return cmsgpack.pack(all)',
    0,
    length,
  );
  expect(textsIn(reply).map(String)).toEqual(Array.from({ length }, (_, i) => `text ${i + 1}`));
});

// lengths whose bytes are above 0x7f, or look like a character
const odd = [0, 1, 31, 32, 0x41, 0x7f, 0x80, 0xc3, 0xff, 0x100, 0x80_80, 0xff_ff, 0x1_00_80];

test.each(odd)(
  'ASCII of %i bytes is delivered as text, and bytes if one of them is no ASCII',
  async (size) => {
    const all = [...odd, size].map((length) => Buffer.from('~'.repeat(length)));
    const packed = async (): Promise<string[]> => {
      const reply = await redis.callBuffer('EVAL', 'return cmsgpack.pack(ARGV)', 0, ...all);
      return textsIn(reply).map((text) => text.toString('latin1'));
    };
    expect(await packed()).toEqual(all.map((text) => text.toString('latin1')));
    expect([...deliveredAs]).toEqual(['string']);
    all.push(Buffer.from([0x80]));
    expect(await packed()).toEqual(all.map((text) => text.toString('latin1')));
    expect([...deliveredAs]).toEqual(['object']);
  },
);

test('texts of any bytes and sizes, packed by the server', async () => {
  const all = sizes.map((size) => Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 7) & 0xff)));
  const reply = await redis.callBuffer('EVAL', 'return cmsgpack.pack(ARGV)', 0, ...all);
  expect(textsIn(reply).map((text, i) => text.equals(all[i] as Buffer))).toEqual(all.map(() => true));
});

test.each([
  ['nothing', []],
  ['a text', [0xa1, 0x61]],
  ['an array of numbers', [0x91, 0x05]],
  ['a text that is cut off', [0x91, 0xa2, 0x61]],
  ['a size that is cut off', [0x91, 0xda, 0x01]],
  ['fewer texts than announced', [0xdd, 0xff, 0xff, 0xff, 0xff, 0xa0]],
])('%s is refused', (_, bytes) => {
  expect(() => textsIn(Buffer.from(bytes))).toThrow('something else than a packed array');
});
