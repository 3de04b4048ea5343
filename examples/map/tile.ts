/** The function of one line: renders a tile, as one line of base64. */
import renderTile from '../fractal/tiles.ts';
import type { TileTask } from '../fractal/scene.ts';

export default function tile(task: TileTask): string {
  return Buffer.from(renderTile(task)).toString('base64');
}
