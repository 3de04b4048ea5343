/**
 * The task module: cuts one tile out of a picture and scales it down. What it returns, the bytes of a PNG, is the result.
 * A worker reads a picture once and keeps it, because the next task is most likely of the same one.
 */
import { readFile } from 'node:fs/promises';
import { PNG } from 'pngjs';

/** Pixels of a tile's side. */
export const TILE = 256;

export interface TileTask {
  readonly id: string;
  /** A path that the workers can read, or a URL. */
  readonly image: string;
  /** So many pixels of the picture, each way, become one. */
  readonly scale: number;
  /** Which tile, counted from the top left one. */
  readonly column: number;
  readonly row: number;
}

/** Pictures by their name. Some MB each, so the oldest goes when there are four. */
const pictures = new Map<string, Promise<PNG>>();

export default async function cutTile({ image, scale, column, row }: TileTask): Promise<Buffer> {
  const picture = await open(image);
  const side = TILE * scale;
  const left = column * side;
  const top = row * side;
  const width = Math.ceil(Math.min(side, picture.width - left) / scale);
  const height = Math.ceil(Math.min(side, picture.height - top) / scale);
  // another attempt would end the same way
  if (!(width > 0 && height > 0))
    throw Object.assign(new RangeError(`${image} has no tile ${column}/${row}`), { retry: false });
  const tile = new PNG({ width, height });
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      average(picture, left + x * scale, top + y * scale, scale, tile.data, (y * width + x) * 4);
  return PNG.sync.write(tile);
}

/** Writes the mean colour of a square of pixels, cut off at the picture's edge. */
function average(from: PNG, left: number, top: number, scale: number, to: Buffer, at: number): void {
  const right = Math.min(left + scale, from.width);
  const bottom = Math.min(top + scale, from.height);
  const pixels = (right - left) * (bottom - top);
  for (let channel = 0; channel < 4; channel++) {
    let sum = 0;
    for (let y = top; y < bottom; y++)
      for (let x = left; x < right; x++) sum += from.data[(y * from.width + x) * 4 + channel] ?? 0;
    to[at + channel] = Math.round(sum / pixels);
  }
}

function open(image: string): Promise<PNG> {
  const known = pictures.get(image);
  if (known) return known;
  const picture = read(image).then((bytes) => PNG.sync.read(bytes));
  pictures.set(image, picture);
  // what could not be read is read again by the next attempt
  picture.catch(() => pictures.delete(image));
  for (const oldest of pictures.keys()) if (pictures.size > 4) pictures.delete(oldest);
  return picture;
}

async function read(image: string): Promise<Buffer> {
  if (!/^https?:/.test(image)) return readFile(image);
  const answer = await fetch(image);
  if (!answer.ok) throw new Error(`${image} answered ${answer.status}`);
  return Buffer.from(await answer.arrayBuffer());
}
