/** The picture, and its tasks. Each task is self-contained: any worker can run it. */
import type { Area, PictureSize, View } from './mandelbrot.ts';

export interface TileTask extends Area {
  /** The field of the result hash for the tile's pixels. */
  readonly id: string;
  readonly picture: PictureSize;
  readonly view: View;
}

/** A spiral at the edge of the seahorse valley, with seahorses on its back. */
const spiral: View = { re: -0.77571, im: 0.136467, span: 0.00122, maxIterations: 4_000 };

/** Tiles of at most `tile` × `tile` pixels, row by row; together they cover the picture. */
export function cutIntoTiles(picture: PictureSize, tile: number): TileTask[] {
  const tasks: TileTask[] = [];
  for (let y = 0; y < picture.height; y += tile) {
    for (let x = 0; x < picture.width; x += tile) {
      const width = Math.min(tile, picture.width - x);
      const height = Math.min(tile, picture.height - y);
      tasks.push({ id: `tile-${x}-${y}`, x, y, width, height, picture, view: spiral });
    }
  }
  return tasks;
}
