/**
 * `npm run screenshots`: the pictures of the dashboard in docs/images, of pools that really run. A controller on a real API server
 * has a dozen pools with traffic of several kinds, and `millrace dev` one whose page is shown. It takes as many minutes as
 * are asked for (5), because charts need a past.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { POOLS } from '../../kube/resources.ts';
import { openQueue } from '../../queue/queue.ts';
import { createProgram, integer, runProgram } from '../../runtime/program.ts';
import { version } from '../../runtime/version.ts';
import { startController } from '../support/controller.ts';
import { MILLRACE, start } from '../support/millrace.ts';
import { TASKS } from '../support/workers.ts';
import { NAMESPACES, playDeployments, poolManifest, startWorld, type World } from '../support/world.ts';
import { openPage, startBrowser } from './browser.ts';

const IMAGES = join(import.meta.dirname, '../../docs/images');
const WORKER = join(import.meta.dirname, '../../worker/main.ts');

interface Example {
  readonly namespace: string;
  readonly name: string;
  /** Tasks each two seconds, and how long one takes, ms. */
  readonly every: () => number;
  readonly sleepMs: number;
  readonly works: boolean;
}

let turn = 0;
const bursts = (size: number, often: number) => (): number => (turn % often === 0 ? size : 0);
const steady = (size: number) => (): number => Math.round(size * (1 + 0.4 * Math.sin(turn / 9)));

const EXAMPLES: readonly Example[] = [
  { namespace: 'media', name: 'thumbnails', every: bursts(30, 7), sleepMs: 300, works: true },
  { namespace: 'media', name: 'transcode', every: steady(2), sleepMs: 900, works: true },
  { namespace: 'shop', name: 'invoices', every: bursts(12, 11), sleepMs: 200, works: true },
  { namespace: 'shop', name: 'mail', every: steady(4), sleepMs: 120, works: true },
  { namespace: 'search', name: 'crawl', every: steady(1), sleepMs: 0, works: false },
  { namespace: 'search', name: 'index', every: bursts(3, 40), sleepMs: 100, works: false },
  { namespace: 'ml', name: 'embeddings', every: bursts(18, 13), sleepMs: 500, works: true },
  { namespace: 'ml', name: 'ocr', every: () => 0, sleepMs: 0, works: false },
  { namespace: 'reports', name: 'nightly', every: () => 0, sleepMs: 0, works: false },
];

async function createPools(world: World): Promise<void> {
  for (const namespace of new Set(EXAMPLES.map((example) => example.namespace)))
    await world.objects.create(NAMESPACES, undefined, { metadata: { name: namespace } });
  for (const { namespace, name } of EXAMPLES) {
    const scaling = name === 'crawl' ? { tasksPerReplica: 20 } : { targetWait: '5s' };
    const manifest = poolManifest(name, world.redis, { scaling, concurrency: 4, maxReplicas: 12 });
    await world.objects.create(POOLS, namespace, manifest);
  }
  const away = poolManifest('archive', { url: 'redis://archive-redis.invalid:6379' });
  await world.objects.create(POOLS, 'reports', away);
}

async function picture(
  browser: Browser,
  url: string,
  name: string,
  look: Parameters<typeof openPage>[2],
): Promise<void> {
  await using opened = await openPage(browser, url, look);
  await opened.page.locator('.link.live').waitFor();
  await sleep(3_000);
  const path = join(IMAGES, `dashboard-${name}.png`);
  await opened.page.screenshot({ path });
  console.log(`docs/images/dashboard-${name}.png  ${(statSync(path).size / 1_024).toFixed(0)} KiB`);
}

async function main(minutes: number): Promise<void> {
  await using world = await startWorld();
  await using browser = await startBrowser();
  const playing = new AbortController();
  await playDeployments(world.transport, playing.signal);
  await createPools(world);
  await using controller = await startController({
    kubeconfig: world.server.kubeconfig,
    args: ['--dashboard', '--dashboard-auth', 'none'],
  });
  await using workers = new AsyncDisposableStack();
  for (const { name, works } of EXAMPLES) {
    const keys = ['--queue', name, '--result', `${name}:result`, '--redis', world.redis.url];
    if (works)
      workers.use(start(WORKER, ['--module', TASKS, '--concurrency', '4', '--http-port', '0', ...keys]));
  }
  const pool = ['--queue', 'tiles', '--max', '8', '--target-wait', '10s', '--dashboard', '0'];
  await using dev = start(MILLRACE, ['dev', '--module', TASKS, ...pool]);
  const [, full = ''] = await dev.prints(/dashboard at (http:\S+)/, 90_000);
  const [, redis = ''] = /(redis:\/\/\S+?),? /.exec(dev.stdout()) ?? [];
  await using tiles = openQueue({ redis, queue: 'tiles' });
  const others = EXAMPLES.map((example) =>
    workers.use(
      openQueue({ redis: world.redis.address, queue: example.name, result: `${example.name}:result` }),
    ),
  );
  const end = Date.now() + minutes * 60_000;
  for (; Date.now() < end; turn++) {
    const order = (of: string, sleepMs: number) => (_: unknown, i: number) => ({
      id: `${of}-${turn}-${i}`,
      sleepMs,
    });
    for (const [i, { name, every, sleepMs }] of EXAMPLES.entries())
      await others[i]?.enqueueMany(Array.from({ length: every() }, order(name, sleepMs)));
    const burst = turn % 25 === 6 ? 60 : turn % 4;
    await tiles.enqueueMany(Array.from({ length: burst }, order('tile', 300 + 40 * (turn % 17))));
    if (turn % 40 === 12) await tiles.enqueue({ id: `tile-${turn}-x`, final: true });
    await sleep(2_000);
  }
  const list = `http://127.0.0.1:${controller.port}/dashboard/`;
  await picture(browser, list, 'list-light', { width: 1440, height: 860 });
  await picture(browser, list, 'list-dark', { width: 1440, height: 860, scheme: 'dark' });
  await picture(browser, `${full.replace(/#.*/, '')}#/pools/dev/tiles`, 'pool-light', {
    width: 1440,
    height: 1240,
  });
  await picture(browser, `${full.replace(/#.*/, '')}#/pools/dev/tiles`, 'pool-dark', {
    width: 1440,
    height: 1240,
    scheme: 'dark',
  });
  await picture(browser, list, 'phone', { width: 375, height: 760 });
  playing.abort();
}

await runProgram('screenshots', async () => {
  const program = createProgram('screenshots', version)
    .description('Takes the pictures of the dashboard in docs/images.')
    .argument('[minutes]', 'how long the pools run before that', integer(1, 600), 5);
  program.parse();
  const [minutes] = program.processedArgs as [number];
  await main(minutes);
});
process.exit();
