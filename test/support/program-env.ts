/** The environment of the programs that tests start from their sources. */
import { homedir } from 'node:os';
import { join } from 'node:path';

const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millrace-test');

/**
 * Nothing of the test's own, and a folder in which Node keeps what it has compiled: a start costs a third of the processor
 * time then. What is kept is by the text of each file.
 */
export const programEnv: NodeJS.ProcessEnv = {
  PATH: process.env['PATH'],
  NODE_COMPILE_CACHE: join(cache, 'compiled'),
};
