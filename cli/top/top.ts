/**
 * `cli/top/` takes the sources of `millrace top` and returns screens. Only `source.ts` knows Redis or a cluster, only
 * `screen.ts` a terminal.
 *
 * `millrace top`: pools, or the queues of a Redis, live, with their workers and dead letters. Reads once a second, and immediately
 * after a key. Ends with q, Ctrl-C or a signal, and restores the terminal.
 */
import { addressName } from '../../queue/connection/connection.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { onSignals } from '../../runtime/lifecycle.ts';
import { timeout } from '../../runtime/timers.ts';
import { listsThere, openServers, withRedis } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { openScreen, type Screen } from './screen.ts';
import {
  firstState,
  press,
  type Key,
  type TopBatch,
  type TopData,
  type TopState,
  type Wish,
} from './model.ts';
import type { TopPlace } from './place.ts';
import { cancelTopBatch } from './read-batches.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import { moveLetters, readDetail, type TopSource } from './source.ts';
import { draw } from './view.ts';

export interface TopFlags extends AccessFlags {
  readonly allNamespaces?: true;
  readonly once?: true;
}

const READ_EVERY_MS = 1_000;

/** `given`: not written to if its lines would end up in the screen. */
/** `term`: the kind of terminal, as `TERM` has it. */
export async function top(flags: TopFlags, given: CommandLog, term: string | undefined): Promise<void> {
  const log: CommandLog = process.stderr.isTTY ? { ...given, debug: () => undefined } : given;
  if (flags.redisNamed) {
    await withRedis(flags, async (redis, { address, partitioned, queues }, redisOf, { primaries }) => {
      const { redisSource } = await import('./source.ts');
      const names = flags.given.includes('queue') ? [flags.queue] : [];
      const title = `Redis at ${addressName(address)}`;
      const asked = partitioned && { name: partitioned.keys.queue, queues };
      const { result } = flags;
      const servers = { redis, redisOf, primaries, address };
      await using source = redisSource({ ...servers, title, names, asked, result });
      await run(source, flags, log, term);
    });
    return;
  }
  const [{ explained, openCluster }, { placeOfPool }, { clusterSource }] = await Promise.all([
    import('../cluster/cluster.ts'),
    import('../access/pool-access.ts'),
    import('./source.ts'),
  ]);
  using cluster = openCluster(flags);
  const { readPools } = await import('../commands/pools.ts');
  const namespace = flags.allNamespaces ? undefined : cluster.namespace;
  // fails in one line; a watch would retry for ever
  await readPools(cluster, namespace);
  await using source = await clusterSource(cluster, namespace, async (pool, stack) => {
    const place = await placeOfPool(cluster, pool, stack);
    const { describe } = place;
    let last: unknown;
    const { redis, redisOf } = stack.use(
      openServers(place, { onError: (error) => (last = error), maxRetriesPerRequest: 1 }),
    );
    await redis.ping().catch((error: unknown) => {
      throw new Error(describe(last ?? error), { cause: last ?? error });
    });
    const { source: library } = pool.spec;
    return { redis, redisOf, queues: await listsThere(place, redisOf), source: library && sourceOf(library) };
  }).catch((error: unknown) => {
    throw explained(error);
  });
  await run(source, flags, log, term);
}

async function run(
  source: TopSource,
  { once }: TopFlags,
  log: CommandLog,
  term: string | undefined,
): Promise<void> {
  if (!once) {
    await live(source, log, term);
    return;
  }
  const data = { rows: await source.rows(), detail: undefined };
  const columns = process.stdout.columns || 120;
  const frame = { title: source.title, columns, lines: data.rows.length + 6, now: Date.now(), note: '' };
  // without the help for keys
  const lines = draw(firstState, data, frame).slice(0, -2);
  process.stdout.write(
    `${lines
      .map((line) => line.trimEnd())
      .join('\n')
      .trimEnd()}\n`,
  );
}

async function live(source: TopSource, log: CommandLog, term: string | undefined): Promise<void> {
  using signals = onSignals();
  const over = new AbortController();
  let state: TopState = firstState;
  let data: TopData = { rows: [], detail: undefined };
  // until the next read, and until the next key
  let reading: string | undefined = 'reading …';
  let done: string | undefined;
  let wake = (): void => undefined;
  await using inside = createInside(source);

  const redraw = (): void => {
    const { columns, lines } = screen;
    screen.show(
      draw(state, data, { title: source.title, columns, lines, now: Date.now(), note: reading ?? done }),
    );
  };
  const onKey = (key: Key): void => {
    const pressed = press(state, key, data);
    if (pressed.state !== state) done = undefined;
    state = pressed.state;
    const { wish } = pressed;
    if (wish?.kind === 'quit') over.abort();
    else if (wish?.kind === 'open') inside.open(wish.key);
    else if (wish?.kind === 'close') inside.close();
    else if (wish)
      perform(inside, wish)
        .catch((error: unknown) => {
          log.debug(error, `what was asked for could not be done (${wish.kind})`);
          return (error as Error).message;
        })
        .then((text) => {
          done = text;
          wake();
        })
        .catch(() => undefined);
    if (wish?.kind === 'open' || wish?.kind === 'close') data = { ...data, detail: undefined };
    redraw();
    wake();
  };
  using screen: Screen = openScreen(process.stdin, process.stdout, term, { onKey, onResize: redraw });
  redraw();
  const ended = AbortSignal.any([signals.stopping, over.signal]);
  while (!ended.aborted) {
    try {
      const [rows, detail] = await Promise.all([source.rows(), inside.read()]);
      reading = undefined;
      data = { rows, detail };
    } catch (error) {
      log.debug(error, 'reading failed; retrying');
      reading = `! ${(error as Error).message}`;
    }
    if (ended.aborted) break;
    redraw();
    const { promise, resolve } = Promise.withResolvers<void>();
    wake = resolve;
    const timer = timeout(READ_EVERY_MS, resolve);
    ended.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    timer.clear();
  }
}

/** Resolves to what was done, as a line. */
async function perform(
  inside: ReturnType<typeof createInside>,
  wish: Extract<Wish, { kind: 'move' | 'cancel' }>,
): Promise<string> {
  if (wish.kind === 'cancel') {
    const { id } = wish.batch;
    return (await inside.cancel(wish.batch))
      ? `batch ${id} is being cancelled`
      : `batch ${id} is over already`;
  }
  const moved = await inside.move(wish.how, wish.letters);
  return `${moved} ${wish.how === 'drop' ? 'dropped' : 'requeued'}`;
}

/** The details of the opened row, one at a time. */
function createInside(source: TopSource) {
  let stack: AsyncDisposableStack | undefined;
  let place: Promise<TopPlace> | undefined;
  const close = (): void => {
    const old = stack;
    stack = undefined;
    place = undefined;
    old?.disposeAsync().catch(() => undefined);
  };
  return {
    open(key: string): void {
      close();
      stack = new AsyncDisposableStack();
      place = source.open(key, stack);
      place.catch(() => undefined); // the reader handles the error
    },
    close,
    async read(): Promise<TopData['detail']> {
      const here = place;
      if (!here) return undefined;
      const detail = await readDetail(await here);
      return here === place ? detail : undefined;
    },
    async move(
      ...[how, letters]: [how: 'requeue' | 'drop', letters: Parameters<typeof moveLetters>[2]]
    ): Promise<number> {
      if (!place) return 0;
      return await moveLetters(await place, how, letters);
    },
    async cancel(batch: TopBatch): Promise<boolean> {
      return place !== undefined && (await cancelTopBatch(await place, batch));
    },
    [Symbol.asyncDispose]: async () => {
      await stack?.disposeAsync();
    },
  };
}
