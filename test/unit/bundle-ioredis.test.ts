/** The parts of ioredis that the bundler rewrites are what they were. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { commandsIn, withBriefInfo, withPlainMembers } from '../../scripts/bundle-ioredis.ts';

const ofIoredis = createRequire(createRequire(import.meta.url).resolve('ioredis'));
const file = ofIoredis.resolve('./resp/decoder.js');
const original = readFileSync(file, 'utf8');

interface Decoder {
  write(chunk: Buffer): void;
}
type Listener = (value: unknown) => void;
type NewDecoder = new (
  config: Record<'onReply' | 'onErrorReply' | 'onPush', Listener> & { getTypeMapping: () => object },
) => Decoder;

/** The class that the code of decoder.js exports. */
function decoderOf(code: string): NewDecoder {
  const exported: { Decoder?: NewDecoder } = {};
  // oxlint-disable-next-line typescript/no-implied-eval, no-new-func
  new Function('exports', 'require', code)(exported, createRequire(file));
  if (!exported.Decoder) throw new Error(`${file} exports no Decoder`);
  return exported.Decoder;
}

/** What a decoder reports of these chunks. */
function decoded(Type: NewDecoder, chunks: readonly Buffer[], typeMapping: object): unknown[] {
  const found: unknown[] = [];
  const listener =
    (kind: string): Listener =>
    (value) =>
      found.push([kind, value]);
  const [onReply, onErrorReply, onPush] = ['reply', 'error', 'push'].map(listener) as [
    Listener,
    Listener,
    Listener,
  ];
  const decoder = new Type({ onReply, onErrorReply, onPush, getTypeMapping: () => typeMapping });
  try {
    for (const chunk of chunks) decoder.write(chunk);
  } catch (error) {
    found.push(['thrown', String(error)]);
  }
  return found;
}

const line = fc.stringMatching(/^[ -~]{0,12}$/);
const bytes = (mark: string, text: string): string => `${mark}${Buffer.byteLength(text)}\r\n${text}\r\n`;
/** Any value in RESP 2 or 3. */
const { value } = fc.letrec<{ value: string }>((tie) => {
  const items = (mark: string, each: number): fc.Arbitrary<string> =>
    fc
      .array(tie('value'), { maxLength: 4 })
      .map((all) => all.slice(0, all.length - (all.length % each)))
      .map((all) => `${mark}${all.length / each}\r\n${all.join('')}`);
  return {
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom('_\r\n', '#t\r\n', '#f\r\n', '$-1\r\n', '*-1\r\n', ',inf\r\n', ',-inf\r\n', ',nan\r\n'),
      fc.integer().map((number) => `:${number}\r\n`),
      fc.bigInt().map((number) => `(${number}\r\n`),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => `,${number}\r\n`),
      line.map((text) => `+${text}\r\n`),
      line.map((text) => `-ERR ${text}\r\n`),
      fc.string().map((text) => bytes('$', text)),
      fc.string().map((text) => bytes('!', `ERR ${text}`)),
      fc.string().map((text) => bytes('=', `txt:${text}`)),
      items('*', 1),
      items('~', 1),
      items('>', 1),
      items('%', 2),
    ),
  };
});

test('replies are decoded as by ioredis itself, wherever they are cut', () => {
  const [before, after] = [decoderOf(original), decoderOf(withPlainMembers(original))];
  const mappings = [
    {},
    { 36: Buffer },
    { 58: String, 44: String, 43: Buffer, 37: Map, 126: Set, 40: String },
  ];
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(200), { maxLength: 6 }),
      fc.constantFrom(...mappings),
      (values, cuts, mapping) => {
        const all = Buffer.from(values.join(''));
        const ends = [...cuts.filter((at) => at < all.length).toSorted((a, b) => a - b), all.length];
        const chunks = ends.map((end, i) => all.subarray(ends[i - 1] ?? 0, end));
        expect(decoded(after, chunks, mapping)).toEqual(decoded(before, chunks, mapping));
        expect(decoded(after, [all], mapping).length).toBeGreaterThan(0);
      },
    ),
    { numRuns: 500 },
  );
});

test('a decoder that is compiled in another way is not bundled', () => {
  expect(() => withPlainMembers('class Decoder { #cursor = 0; }')).toThrow('has changed');
  expect(() => withPlainMembers(`${original}\n__classPrivateFieldGet(this, other, "a", f);`)).toThrow(
    'has changed',
  );
});

test('the check of a connection reads three fields of INFO', () => {
  const code = withBriefInfo(readFileSync(ofIoredis.resolve('./Redis.js'), 'utf8'));
  const [read = ''] = /const lines = .*;/.exec(code) ?? [];
  // oxlint-disable-next-line typescript/no-implied-eval, no-new-func
  const lines = new Function('res', `${read} return lines;`) as (info: string) => string[];
  const info = [
    '# Persistence',
    'loading:1',
    'async_loading:0',
    'loading_eta_seconds:3',
    '',
    'role:master',
    '',
  ];
  expect(lines(info.join('\r\n'))).toEqual(['loading:1', 'loading_eta_seconds:3', 'role:master']);
  expect(lines('')).toEqual([]);
  expect(() => withBriefInfo('res.split()')).toThrow('has changed');
});

test('commands of a bundle: methods are what it has after a dot, described is every word', () => {
  const { methods, described } = commandsIn(
    `redis.get(key), client?.zrangeBuffer(a), { hset: 1 }, x.call('SENTINEL'), $set.hget2`,
  );
  const among = ['get', 'zrange', 'hset', 'sentinel', 'set', 'hget'];
  expect(among.filter((name) => methods.has(name))).toEqual(['get', 'zrange']);
  expect(among.filter((name) => described.has(name))).toEqual(['get', 'zrange', 'hset', 'sentinel']);
});
