/** `join.ts 1200x800 fractal.png`: the picture, from the results in the order of the tiles. */
import { createInterface } from 'node:readline';
import { paste, writePng } from '../fractal/assemble.ts';
import { cutIntoTiles } from '../fractal/scene.ts';
import { sizeOf } from './size.ts';

const size = sizeOf(process.argv[2]);
const file = process.argv[3] ?? 'fractal.png';
const pixels = Buffer.alloc(size.width * size.height * 4, 0xff);
const tiles = cutIntoTiles(size, 100);
let count = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const tile = tiles[count++];
  if (tile) paste(Buffer.from(line, 'base64'), tile, pixels, size.width);
}
if (count !== tiles.length) throw new Error(`${count} tiles came, and the picture has ${tiles.length}`);
await writePng(file, size, pixels);
