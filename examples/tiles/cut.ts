/**
 * The client: `node cut.ts picture.png out/`. It enqueues a task for each tile of each zoom level, as a map on a web page
 * wants them, and writes each result to out/<zoom>/<column>-<row>.png. Zoom 0 is the whole picture in one tile.
 */
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { openQueue } from '../../queue/queue.ts'; // outside of this repository: 'millrace/queue'
import { TILE, type TileTask } from './tiles.ts';

/** The first bytes of a PNG hold its size. */
async function sizeOf(image: string): Promise<{ width: number; height: number }> {
  await using file = await open(image);
  const { buffer } = await file.read(Buffer.alloc(24), 0, 24, 0);
  if (buffer.toString('latin1', 1, 4) !== 'PNG') throw new Error(`${image} is not a PNG`);
  return { width: buffer.readUInt32BE(16), height: buffer.readUInt32BE(20) };
}

function* tilesOf(image: string, width: number, height: number): Generator<TileTask & { zoom: number }> {
  const levels = Math.max(0, Math.ceil(Math.log2(Math.max(width, height) / TILE)));
  for (let zoom = 0; zoom <= levels; zoom++) {
    const scale = 2 ** (levels - zoom);
    for (let row = 0; row * TILE * scale < height; row++)
      for (let column = 0; column * TILE * scale < width; column++)
        yield { id: `${zoom}/${column}-${row}`, image, zoom, scale, column, row };
  }
}

const [picture = '', out = 'out'] = process.argv.slice(2);
const image = resolve(picture);
const { width, height } = await sizeOf(image);
const tasks = [...tilesOf(image, width, height)];
await using queue = openQueue({ redis: process.env['MILLRACE_REDIS_URL'] ?? 'redis://localhost:6379' });
await queue.enqueueMany(tasks);
await Promise.all(
  tasks.map(async ({ id, zoom }) => {
    const tile = await queue.result(id, { as: 'bytes', timeoutMs: 300_000 });
    await mkdir(join(out, String(zoom)), { recursive: true });
    await writeFile(join(out, `${id}.png`), tile);
  }),
);
console.log(`${tasks.length} tiles of ${width} × ${height} pixels are in ${out}`);
