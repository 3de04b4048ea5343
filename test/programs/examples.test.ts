/** The examples, each run as its README describes: the work is done, and the results are right. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writePng } from '../../examples/fractal/assemble.ts';
import { renderArea } from '../../examples/fractal/mandelbrot.ts';
import { cutIntoTiles } from '../../examples/fractal/scene.ts';
import { TILE } from '../../examples/tiles/tiles.ts';
import { eventually } from '../support/eventually.ts';
import { programEnv } from '../support/program-env.ts';
import { preparePython, pythonOfPackage } from '../support/python.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';

const root = resolve(import.meta.dirname, '../..');
const examples = join(root, 'examples');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-examples-'));
  // what is missing is reported by the test that needs it
  for (const example of ['python', 'adopted']) await prepare(example);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** All that `run.sh` of an example printed. */
async function runExample(
  name: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const child = spawn('bash', [join(examples, name, 'run.sh'), ...args], {
    cwd: root,
    env: { ...programEnv, HOME: process.env['HOME'], TMPDIR: folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await ended;
  expect({ code, stderr, stdout: code === 0 ? '' : stdout }).toMatchObject({ code: 0, stdout: '' });
  return stdout + stderr;
}

const prepare = async (example: string): Promise<string | Error> =>
  await preparePython(await readFile(join(examples, example, 'requirements.txt'), 'utf8'));

/** An interpreter with the packages of an example. */
async function python(example: string): Promise<string> {
  const found = await prepare(example);
  if (found instanceof Error) throw found;
  return found;
}

test('map: the lines of one call make the same picture', async () => {
  const file = join(folder, 'map.png');
  expect(await runExample('map', ['350x150', file])).toBe(`the picture is in ${file}\n`);
  const { width, height, data } = PNG.sync.read(await readFile(file));
  const [tile] = cutIntoTiles({ width: 350, height: 150 }, 350);
  const whole = tile && renderArea(tile.view, { width, height }, { x: 0, y: 0, width, height });
  expect([width, height]).toEqual([350, 150]);
  expect(Buffer.from(data.filter((_, i) => i % 4 < 3))).toEqual(Buffer.from(whole ?? []));
});

describe('tiles', () => {
  test('put together again are the picture, and zoom 0 is all of it, small', async () => {
    const picture = { width: 600, height: 350 };
    const [first] = cutIntoTiles(picture, 600);
    if (!first) throw new Error('there are no tiles');
    const rgb = renderArea(first.view, picture, { x: 0, y: 0, ...picture });
    const pixels = Buffer.alloc(picture.width * picture.height * 4, 0xff);
    for (let i = 0; i < picture.width * picture.height; i++)
      pixels.set(rgb.subarray(i * 3, i * 3 + 3), i * 4);
    const file = join(folder, 'picture.png');
    await writePng(file, picture, pixels);

    const out = join(folder, 'tiles');
    expect(await runExample('tiles', [file, out])).toContain(`9 tiles of 600 × 350 pixels are in ${out}`);
    expect((await readdir(out)).toSorted()).toEqual(['0', '1', '2']);
    const read = async (name: string): Promise<PNG> => PNG.sync.read(await readFile(join(out, name)));
    for (const column of [0, 1, 2])
      for (const row of [0, 1]) {
        const tile = await read(`2/${column}-${row}.png`);
        for (let y = 0; y < tile.height; y++) {
          const from = ((row * TILE + y) * picture.width + column * TILE) * 4;
          const line = tile.data.subarray(y * tile.width * 4, (y + 1) * tile.width * 4);
          expect(line.equals(pixels.subarray(from, from + tile.width * 4))).toBe(true);
        }
      }
    const whole = await read('0/0-0.png');
    expect([whole.width, whole.height]).toEqual([150, 88]);
    // the mean of 4 × 4 pixels
    let sum = 0;
    for (let y = 40; y < 44; y++)
      for (let x = 80; x < 84; x++) sum += pixels[(y * picture.width + x) * 4] ?? 0;
    expect(whole.data[(10 * 150 + 20) * 4]).toBe(Math.round(sum / 16));
  });
});

test('python: the sweep finds where the logistic map is chaotic', async () => {
  const printed = await runExample('python', ['20'], { PYTHON: await python('python') });
  const values = [...printed.matchAll(/^r = ([\d.]+) +(-?[\d.]+)(  chaotic)?$/gm)];
  expect(values).toHaveLength(21);
  const exponentAt = (r: string): number => Number(values.find(([, at]) => at === r)?.[2]);
  // known values: ln 2 for r = 4; cycles of period two and three
  expect(exponentAt('4.000')).toBeCloseTo(Math.LN2, 2);
  expect(exponentAt('3.250')).toBeLessThan(-1);
  expect(exponentAt('3.700')).toBeCloseTo(0.35, 1);
});

test('sweep: a table of epidemics, as large as theory has them', async () => {
  const file = join(folder, 'sweep.csv');
  const printed = await runExample('sweep', ['4', file], { PYTHON: await pythonOfPackage() });
  expect(printed).toContain(`16 rows are in ${file}`);
  const [head, ...rows] = (await readFile(file, 'utf8')).trim().split(/\r?\n/);
  expect(head).toBe('r0,vaccinated,ill,ill_p05,ill_p95,peak');
  expect(rows).toHaveLength(16);
  const illAt = (r0: string, vaccinated: string): number =>
    Number(rows.find((row) => row.startsWith(`${r0},${vaccinated},`))?.split(',')[2]);
  // the final size of an epidemic: z = 1 − exp(−r0·z)
  expect(illAt('2.0000', '0.0000')).toBeCloseTo(0.797, 1);
  expect(illAt('5.0000', '0.0000')).toBeCloseTo(0.993, 1);
  expect(illAt('2.0000', '0.9000')).toBeLessThan(0.01);
});

test('shell: counts the words of a text', async () => {
  const file = join(root, 'LICENSE');
  const printed = await runExample('shell', [file]);
  const words = (await readFile(file, 'utf8')).toLowerCase().match(/[a-z]+/g) ?? [];
  const count = words.filter((word) => word === 'the').length;
  expect(printed).toMatch(new RegExp(`^ +${count} the$`, 'm'));
});

test('http-worker: the application adds up what it can, and refuses the rest for good', async () => {
  const printed = await runExample('http-worker', [], { PORT: String(await freePort()) });
  expect(printed).toContain('{"net":4749,"tax":902,"total":5651}');
  expect(printed).toContain('{"net":1068,"tax":75,"total":1143}');
  expect(printed).toMatch(/invoice-3 failed for good: .*answered 422: "invoice-3 is no invoice"/);
});

test('priorities: the most urgent begin first, though they came last', async () => {
  const printed = await runExample('priorities');
  const order = /^urgent-1 .*$/m
    .exec(printed)?.[0]
    .split(' ')
    .map((id) => id.split('-')[0]);
  expect(order).toEqual([
    ...Array.from({ length: 3 }, () => 'urgent'),
    ...Array.from({ length: 5 }, () => 'normal'),
    ...Array.from({ length: 20 }, () => 'bulk'),
  ]);
});

test('schedules: two pods are there when the office opens', async () => {
  const printed = await runExample('schedules', ['--duration', '1h']);
  expect(printed).toMatch(/^ +1800\.0 s  [01]→2: .*, minReplicas 2 by schedule "office hours"$/m);
});

test('adopted: the plain worker answers plain clients, and ends at SIGTERM', async () => {
  await using redis = await startRedis();
  const client = redis.client();
  const file = join(examples, 'adopted/worker.py');
  const worker = spawn(await python('adopted'), [file], {
    env: { PATH: process.env['PATH'], REDIS_URL: redis.url },
    stdio: 'inherit',
  });
  const ended = once(worker, 'close');
  try {
    await client.lpush('checksums', '{"id":"a","text":"hello"}', '{"id":"b","text":"wörld"}');
    const sum = (word: string): string => crc32(word).toString(16).padStart(8, '0');
    await eventually(async () =>
      expect(await client.hgetall('checksums:results')).toEqual({ a: sum('hello'), b: sum('wörld') }),
    );
  } finally {
    worker.kill('SIGTERM');
  }
  expect(await ended).toEqual([0, null]);
});
