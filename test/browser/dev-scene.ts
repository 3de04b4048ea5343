/** `millrace dev` at work on a Redis of its own, with its dashboard, and a browser to look at that. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { MILLRACE, start, type Program } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { TASKS } from '../support/workers.ts';
import { startBrowser } from './browser.ts';

export interface DevScene extends AsyncDisposable {
  readonly browser: Browser;
  readonly redis: RedisServer;
  readonly program: Program;
  readonly queue: Queue;
  /** For files of a test. */
  readonly folder: string;
  /** The dashboard's address, with the token, and the same without. */
  readonly full: string;
  readonly url: string;
}

export interface DevSceneOptions {
  readonly queue: string;
  /** The manifest of the pool; otherwise `args` say what it is. */
  readonly pool?: string;
  readonly args?: readonly string[];
}

export async function startDevScene({ queue: name, pool, args = [] }: DevSceneOptions): Promise<DevScene> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'millrace-dashboard-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const manifest = join(folder, 'pool.yaml');
  if (pool !== undefined) await writeFile(manifest, pool);
  const what = pool === undefined ? ['--queue', name] : ['--pool', manifest];
  const redis = stack.use(await startRedis());
  const where = [...what, ...args, '--redis', redis.url, '--dashboard', '0'];
  const program = stack.use(
    start(MILLRACE, ['dev', '--module', TASKS, ...where], { env: { TMPDIR: folder } }),
  );
  const browser = await startBrowser();
  stack.defer(() => browser.close());
  const [, full = ''] = await program.prints(/dashboard at (http:\S+)/, 90_000);
  const queue = stack.use(openQueue({ redis: redis.address, queue: name }));
  const owned = stack.move();
  return {
    browser,
    redis,
    program,
    queue,
    folder,
    full,
    url: full.replace(/#.*/, ''),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
