/**
 * `npm run demo`: a picture of a fractal, cut into about 1,000 tasks, rendered by a pool of worker processes that grows
 * from nothing when the tasks come and is gone when they are done. It composes what `millrace dev` is made of, with a
 * plain Redis client in front: LPUSH the tasks, HMGET the results.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { startLocalRedis } from '../../cli/dev/local-redis.ts';
import { createLocalTarget } from '../../cli/dev/local-target.ts';
import { workerProgram } from '../../cli/dev/worker-program.ts';
import { queueKeys } from '../../queue/keys.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { onSignals } from '../../runtime/lifecycle.ts';
import { createProgram, duration, integer, runProgram, UsageError } from '../../runtime/program.ts';
import { version } from '../../runtime/version.ts';
import { fetchPixels, writePng } from './assemble.ts';
import { chartSvg } from '../../cli/simulate/chart-svg.ts';
import { chartOf } from './history.ts';
import type { PictureSize } from './mandelbrot.ts';
import { runPool } from './pool-run.ts';
import { createProgress } from './progress.ts';
import { cutIntoTiles } from './scene.ts';

interface Flags {
  readonly size: PictureSize;
  readonly tile: number;
  readonly max: number;
  readonly window: number;
  readonly out: string;
  readonly install?: true;
}

/** The last workers go one by one: so many steps for each of them, from the full queue to the empty one. */
const STEPS = 2;

function parse(argv: readonly string[]): Flags {
  const size = (text: string): PictureSize => {
    const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(text) ?? [];
    if (!Number(width) || !Number(height)) throw new UsageError(`"${text}" is not a size: write 4000x2500`);
    return { width: Number(width), height: Number(height) };
  };
  const program = createProgram('demo', version)
    .description('Renders a fractal with a pool of local workers that scales from zero and back.')
    .option('--size <WxH>', 'pixels of the picture', size, { width: 4_000, height: 2_500 })
    .option('--tile <n>', 'width and height of a tile in pixels', integer(1, 5_000), 100)
    .option(
      '--max <n>',
      'the most workers (default: two more than there are cores)',
      integer(1, 1_000),
      availableParallelism() + 2,
    )
    .option('--window <duration>', 'a worker goes when it was not needed for so long', duration, 1_500)
    .option('--out <folder>', 'where the picture and the chart go', 'out/demo')
    .option('--install', 'the package manager may install a Redis where there is none; else you are asked');
  program.parse(argv);
  return program.opts<Flags>();
}

async function main(): Promise<void> {
  const flags = parse(process.argv);
  const tiles = cutIntoTiles(flags.size, flags.tile);
  const pixels = `${flags.size.width} × ${flags.size.height}`;
  using signals = onSignals();
  const progress = createProgress(process.stdout, process.env);
  const keys = queueKeys('tiles', 'pixels');
  const failed = new AbortController();
  const fail = (why: string): void => failed.abort(new Error(why));

  await using server = await startLocalRedis({
    env: process.env,
    install: flags.install ? 'yes' : 'ask',
    onProgress: progress.say,
    onEnd: fail,
  });
  progress.say(`${server.what} at ${server.url}; a picture of ${pixels} pixels in ${tiles.length} tiles`);
  const address = { url: server.url };
  const redis = openRedis(address);
  await using _closing = { [Symbol.asyncDispose]: () => closeRedis(redis) };

  const graceMs = 10_000;
  const settings = {
    redis: address,
    queue: keys.queue,
    result: keys.result,
    concurrency: 1,
    graceMs,
    module: join(import.meta.dirname, 'tiles.ts'),
    retry: { attempts: 3, backoff: { initialMs: 200, maxMs: 1_000, jitter: true } },
  };
  await using target = createLocalTarget({
    graceMs,
    worker: (id) => workerProgram(settings, id, process.env),
    onEvent: (event) => {
      if (event.kind === 'crashed') progress.say(event.why);
      else if (event.kind === 'line' && event.line.level !== 'info') progress.say(event.line.text);
    },
  });
  const { max: maxReplicas, window: windowMs } = flags;
  const run = await runPool({
    address,
    redis,
    keys,
    target,
    progress,
    signal: AbortSignal.any([signals.stopping, failed.signal]),
    policy: {
      minReplicas: 0,
      maxReplicas,
      windowMs,
      paused: false,
      fallback: undefined,
      tasksPerReplica: Math.max(1, Math.ceil(tiles.length / maxReplicas / STEPS)),
    },
    tasks: tiles.map((tile) => JSON.stringify(tile)),
  });

  const picture = resolve(flags.out, 'fractal.png');
  const chart = resolve(flags.out, 'chart.svg');
  await mkdir(flags.out, { recursive: true });
  await writePng(picture, flags.size, await fetchPixels(redis, keys.result, flags.size, tiles));
  await writeFile(chart, chartSvg(chartOf({ ...run, tiles: tiles.length, pixels })));
  progress.say(
    `${tiles.length} results in ${run.completeS.toFixed(1)} s, all complete. The pool woke ${Math.round(run.wokeMs)} ms after the push, ` +
      `and was back at zero after ${run.goneS.toFixed(1)} s.`,
  );
  progress.say(`picture: ${relative('.', picture)}\nchart:   ${relative('.', chart)}`);
}

await runProgram('demo', main);
