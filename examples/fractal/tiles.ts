/**
 * The task module of the demo: renders one tile. This is all that a worker needs to know about fractals; queue, results
 * and retries are Millrace's part. Try it alone: `millrace dev --module examples/fractal/tiles.ts`.
 */
import { renderArea } from './mandelbrot.ts';
import type { TileTask } from './scene.ts';

/** Returns the tile's RGB bytes, row by row. */
export default function renderTile(task: TileTask): Uint8Array {
  return renderArea(task.view, task.picture, task);
}
