/** Assembles the picture from the result hash; a tile that is missing or has the wrong size is an error. */
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Redis } from 'ioredis';
import { PNG } from 'pngjs';
import type { PictureSize } from './mandelbrot.ts';
import type { TileTask } from './scene.ts';

/** Tiles to fetch at once: a few MB. */
const FETCH = 100;

/** All pixels as RGBA. Throws an error that names the first tile that is missing or wrong. */
export async function fetchPixels(
  redis: Redis,
  result: string,
  picture: PictureSize,
  tiles: readonly TileTask[],
): Promise<Buffer> {
  const pixels = Buffer.alloc(picture.width * picture.height * 4, 0xff);
  for (let i = 0; i < tiles.length; i += FETCH) {
    const some = tiles.slice(i, i + FETCH);
    const results = await redis.hmgetBuffer(result, ...some.map((tile) => tile.id));
    for (const [j, tile] of some.entries()) {
      const rgb = results[j];
      const bytes = tile.width * tile.height * 3;
      if (!rgb) throw new Error(`the result of ${tile.id} is missing in the hash "${result}"`);
      if (rgb.length !== bytes)
        throw new Error(`${tile.id} has ${rgb.length} bytes of pixels instead of ${bytes}`);
      paste(rgb, tile, pixels, picture.width);
    }
  }
  return pixels;
}

/** Copies the RGB bytes of a tile to its place among the RGBA pixels of the picture, of which a row has `stride`. */
export function paste(rgb: Buffer, tile: TileTask, pixels: Buffer, stride: number): void {
  let from = 0;
  for (let y = 0; y < tile.height; y++) {
    let to = ((tile.y + y) * stride + tile.x) * 4;
    for (let x = 0; x < tile.width; x++, from += 3, to += 4) rgb.copy(pixels, to, from, from + 3);
  }
}

/** Writes RGBA pixels as a PNG without an alpha channel. */
export async function writePng(file: string, { width, height }: PictureSize, pixels: Buffer): Promise<void> {
  // the Sub filter and a light compression: a tenth larger than the best, in a quarter of the time
  const png = new PNG({ width, height, colorType: 2, filterType: 1, deflateLevel: 4, deflateStrategy: 0 });
  png.data = pixels;
  await pipeline(png.pack(), createWriteStream(file));
}
