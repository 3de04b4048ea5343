/** Where `millrace map` runs its lines: a pool on this machine that is there for it alone, or a queue that has workers already. */
import { availableParallelism } from 'node:os';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import {
  openQueue,
  parseTask,
  TaskCancelled,
  TaskFailed,
  type Queue,
  type TaskId,
} from '../../queue/queue.ts';
import { createLog } from '../../runtime/log.ts';
import { UsageError } from '../../runtime/program.ts';
import { MAX_RESULT_BYTES } from '../../worker/task/encode.ts';
import { handlerFlagsOf, type HandlerFlags } from '../../worker/flags/handler-flags.ts';
import { checkedKeys } from '../access/checked.ts';
import { createLocalTarget, type LocalEvent } from '../dev/local-target.ts';
import { startLocalRedis } from '../dev/local-redis.ts';
import type { Install } from '../dev/redis-program.ts';
import { startPoolLoop } from '../dev/pool-loop.ts';
import { devSettings } from '../dev/settings.ts';
import { workerProgram } from '../dev/worker-program.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import type { Done, Line, Outcome } from './lines.ts';

/** The tasks of a run in a queue. */
export interface MapTasks {
  /** Enqueues lines; each resolves to its outcome. Rejects when the queue can no longer be used. */
  begin(this: void, lines: readonly Line[]): readonly Promise<Outcome>[];
  /** Cancels what has begun and not ended. */
  cancel(this: void): Promise<void>;
  /** Lines whose outcome is not needed any more. */
  forget(this: void, done: readonly Done[]): Promise<void>;
}

/** A result belongs to an id, so tasks of one id are run one after the other. `remove`: removes results that were read. */
export function createMapTasks(queue: Queue, remove?: (ids: readonly TaskId[]) => Promise<void>): MapTasks {
  /** The last task of each id that has begun and not ended. */
  const running = new Map<string, { readonly id: TaskId; readonly outcome: Promise<Outcome> }>();
  let removed: Promise<void> | undefined;

  function keyOf(bytes: Buffer): { readonly id: TaskId; readonly key: string } {
    const { id } = parseTask(bytes);
    return { id, key: Buffer.isBuffer(id) ? `b${id.toString('base64')}` : `t${id}` };
  }

  async function outcomeOf(id: TaskId, pushed: Promise<unknown>): Promise<Outcome> {
    await pushed;
    try {
      return await queue.result(id, { as: 'bytes' });
    } catch (error) {
      if (error instanceof TaskFailed || error instanceof TaskCancelled) return error;
      throw error;
    }
  }

  return {
    begin: (lines) => {
      const together: Buffer[] = [];
      const push = Promise.withResolvers<unknown>();
      const outcomes = lines.map(({ bytes }) => {
        const { id, key } = keyOf(bytes);
        const before = running.get(key)?.outcome;
        if (!before) together.push(bytes);
        const outcome = before
          ? before.then(() => outcomeOf(id, queue.enqueue(bytes)))
          : outcomeOf(id, push.promise);
        running.set(key, { id, outcome });
        const end = (): void => {
          if (running.get(key)?.outcome === outcome) running.delete(key);
        };
        outcome.then(end, () => undefined);
        return outcome;
      });
      // the result of a new task must not be taken for that of an earlier one
      push.resolve(removed ? removed.then(() => queue.enqueueMany(together)) : queue.enqueueMany(together));
      return outcomes;
    },
    cancel: async () => {
      await Promise.all(Array.from(running.values(), ({ id }) => queue.cancel(id)));
    },
    forget: async (done) => {
      if (!remove) return;
      const ids = done.flatMap(({ line, recalled }) => {
        const { id, key } = keyOf(line.bytes);
        // an equal line that runs now has its result there
        return recalled || running.has(key) ? [] : [id];
      });
      if (ids.length > 0) await (removed = remove(ids));
    },
  };
}

export interface LocalMapFlags extends HandlerFlags {
  /** Tasks at a time. */
  readonly jobs?: number;
  readonly attempts?: number;
}

export interface LocalPoolOptions {
  readonly flags: LocalMapFlags;
  readonly env: NodeJS.ProcessEnv;
  readonly install: Install;
  readonly log: CommandLog;
  /** A line for people. */
  readonly say: (text: string) => void;
  /** Nothing can be run any more. */
  readonly onBroken: (why: string) => void;
}

export interface LocalPool extends AsyncDisposable {
  readonly queue: Queue;
  /** Removes results, which were read: this machine's memory bounds nothing that is kept for later. */
  remove(this: void, ids: readonly TaskId[]): Promise<void>;
}

/** A worker's grace period: what runs when the run ends is wanted by nobody, ms. */
const GRACE_MS = 5_000;
const BACKOFF = { initialMs: 1_000, maxMs: 60_000, jitter: true };
const WHOLE_LIST = 1_000_000;
const WEEK_MS = 7 * 86_400_000;

/** Starts a Redis and workers, which are gone when this is disposed. Throws `UsageError` for flags that contradict each other. */
export async function startLocalPool(options: LocalPoolOptions): Promise<LocalPool> {
  const { flags, env, install, log, say, onBroken } = options;
  const { jobs = availableParallelism(), attempts = 1 } = flags;
  // modules compute in the worker itself; programs, and requests to a server, are run side by side by one
  const [workers, concurrency] = flags.module === undefined ? [1, jobs] : [jobs, 1];
  const keys = checkedKeys({ queue: 'map', result: 'map:result' });
  const { policy } = devSettings({ min: workers, max: workers, concurrency }, undefined, workers);
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startLocalRedis({ env, install, onProgress: say, onEnd: onBroken }));
  const redis = { url: server.url };
  const plain = openRedis(redis);
  stack.defer(() => closeRedis(plain));
  const queue = stack.use(openQueue({ redis, queue: keys.queue, result: keys.result }));
  const settings = {
    ...handlerFlagsOf(flags),
    redis,
    queue: keys.queue,
    result: keys.result,
    concurrency,
    graceMs: GRACE_MS,
    retry: { attempts, backoff: BACKOFF },
    tasks: { maxBytes: MAX_RESULT_BYTES },
    results: { ttlMs: 0, maxBytes: MAX_RESULT_BYTES },
    deadLetters: { max: WHOLE_LIST, maxAgeMs: WEEK_MS },
  };
  let ready = false;
  const onEvent = (event: LocalEvent): void => {
    if (event.kind === 'ready') ready = true;
    if (event.kind === 'line' && wanted(event)) say(event.line.text);
    if (event.kind !== 'crashed') return;
    if (!ready) return onBroken(event.why);
    say(`${event.why}; its tasks are run again`);
    loop
      .recover(event.id, event.how)
      .catch((error: unknown) => log.debug(error, `the tasks of ${event.id} could not be put back yet`));
  };
  const target = stack.use(
    createLocalTarget({ graceMs: GRACE_MS, worker: (id) => workerProgram(settings, id, env), onEvent }),
  );
  stack.defer(() => target.hurry());
  const loop = stack.use(
    startPoolLoop({
      redis,
      queues: [keys],
      policy,
      target,
      log: createLog('millrace', log.level),
      onStep: () => undefined,
      onError: ({ message }) => say(message),
    }),
  );
  const owned = stack.move();
  return {
    queue,
    remove: async (ids) => void (await plain.hdel(keys.result, ...ids)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What the user's code prints. What our own log says of tasks is in their outcome, and of a worker that ended in the crash. */
function wanted({ line }: LocalEvent & { readonly kind: 'line' }): boolean {
  return line.level === undefined && !line.failure;
}

/** Throws `UsageError` for flags that are for workers of this machine only, or for a queue elsewhere only. */
export function checkWhere(local: boolean, given: readonly string[]): void {
  const strays = local ? ELSEWHERE : HERE;
  const stray = strays.find((flag) => given.includes(flag));
  if (stray === undefined) return;
  const name = `--${stray.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  throw new UsageError(
    local
      ? `${name} names a queue whose workers run their own code: omit it to run the lines on this machine, or omit the code`
      : `${name} is for lines that run on this machine: give the code as well, with --command, --module, --python or --http, or omit ${name}`,
  );
}

const ELSEWHERE = ['pool', 'redis', 'redisUrlFile', 'sentinel', 'cluster', 'queue', 'result', 'partitions'];
const HERE = ['jobs', 'attempts', 'install', 'keepRunning'];
