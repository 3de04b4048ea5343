/** `cut.ts 1200x800`: the tasks of the fractal, one line of JSON for each tile. */
import { cutIntoTiles } from '../fractal/scene.ts';
import { sizeOf } from './size.ts';

for (const tile of cutIntoTiles(sizeOf(process.argv[2]), 100)) console.log(JSON.stringify(tile));
