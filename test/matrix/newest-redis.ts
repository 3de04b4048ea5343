/** A setup file of vitest. */
import { chooseNewest } from './newest.ts';

await chooseNewest('redis');
