/** The environment of the programs that tests start from their sources. */
import { join } from 'node:path';
import { cacheFolder } from './cache.ts';

/**
 * Nothing of the test's own, and a folder in which Node keeps what it has compiled: a start costs a third of the processor
 * time then. What is kept is by the text of each file.
 */
export const programEnv: NodeJS.ProcessEnv = {
  PATH: process.env['PATH'],
  NODE_COMPILE_CACHE: join(cacheFolder, 'compiled'),
};
