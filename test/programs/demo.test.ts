/** The demo, small: it produces a whole picture and a chart, and leaves nothing behind. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { expect, test } from 'vitest';
import { renderArea } from '../../examples/fractal/mandelbrot.ts';
import { cutIntoTiles } from '../../examples/fractal/scene.ts';
import { DEMO, start } from '../support/millrace.ts';

test('the picture is complete, pixel for pixel what one process would have rendered, and the pool ends at zero', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-demo-test-'));
  const out = join(folder, 'out');
  try {
    const args = ['--size', '250x160', '--tile', '30', '--max', '2', '--window', '300ms', '--out', out];
    await using program = start(DEMO, args, { env: { TMPDIR: folder } });
    const { code, stdout, stderr } = await program.ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/a picture of 250 × 160 pixels in 54 tiles\n/);
    expect(stdout).toMatch(/\n54 results in [\d.]+ s, all complete\. /);

    const png = PNG.sync.read(await readFile(join(out, 'fractal.png')));
    expect([png.width, png.height]).toEqual([250, 160]);
    const [{ view, picture } = { view: undefined, picture: undefined }] = cutIntoTiles(
      { width: 250, height: 160 },
      30,
    );
    if (!view) throw new Error('there are no tiles');
    const rgb = renderArea(view, picture, { x: 0, y: 0, ...picture });
    const expected = Buffer.alloc(png.data.length, 0xff);
    for (let i = 0; i < picture.width * picture.height; i++)
      expected.set(rgb.subarray(i * 3, i * 3 + 3), i * 4);
    expect(png.data.equals(expected)).toBe(true);

    const chart = await readFile(join(out, 'chart.svg'), 'utf8');
    expect(chart).toContain('54 tiles: from 0 to 2 workers and back to 0');
    await rm(out, { recursive: true });
    expect(await readdir(folder)).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('a size that cannot be is one line and exit 2', async () => {
  await using program = start(DEMO, ['--size', 'huge']);
  expect(await program.ended).toEqual({
    code: 2,
    stdout: '',
    stderr: 'demo: "huge" is not a size: write 4000x2500 (see demo --help)\n',
  });
});
