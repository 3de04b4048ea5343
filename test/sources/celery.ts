/** Celery, with its workers as processes of their own. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { celeryControl } from '../../queue/sources/celery-control.ts';
import { eventually } from '../support/eventually.ts';
import { preparePython } from '../support/python.ts';
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase, LibraryWorker } from './library.ts';
import { releaseOn, workerProcesses } from './processes.ts';

const run = promisify(execFile);
const folder = join(import.meta.dirname, 'python');

export interface CeleryOptions {
  readonly acksLate?: boolean;
  readonly keyPrefix?: string;
  /** Of the broker. */
  readonly db?: number;
  /** The transport options `sep` and `priority_steps`. */
  readonly separator?: string;
  readonly steps?: readonly number[];
  /** The transport option `visibility_timeout`, s. */
  readonly visibilityS?: number;
  /** More transport options. */
  readonly transport?: Readonly<Record<string, unknown>>;
  /** Its sentinels, `host:port`, which call it `main`. */
  readonly sentinels?: readonly string[];
  /** Of tasks, and so of the answers of workers. */
  readonly serializer?: 'pickle';
  /** Queues are bound to exchanges of other names, by keys of their own. */
  readonly ownKeys?: boolean;
  /** Workers have queues of their own, and of broadcasts (`news`), beside `mail` and `sms`. */
  readonly ownQueues?: boolean;
}

/** Of a worker, more arguments for `celery worker`. */
export interface Celery extends Library {
  readonly work: (place: string, ...more: readonly string[]) => Promise<LibraryWorker>;
  /** As `push`, with more of the options of `apply_async`, and `args`. */
  readonly send: (tasks: number, options?: object) => Promise<void>;
}

const settings = { celery: { queues: ['mail'], prioritySteps: [0, 3, 6, 9], keyPrefix: '' } };

export const celeryCases: readonly (LibraryCase & { open: (server: RedisServer) => Promise<Celery> })[] = [
  {
    name: 'Celery 5.7.0',
    settings,
    keys: 'mail*',
    user: 'millrace-celery',
    losesTasks: true,
    prefetched: 1,
    open: (server) => openCelery(server),
  },
  {
    name: 'Celery 5.7.0 with acks_late',
    settings,
    keys: 'mail*',
    user: 'millrace-celery',
    open: (server) => openCelery(server, { acksLate: true }),
  },
];

export async function openCelery(
  server: RedisServer,
  {
    acksLate = false,
    keyPrefix = '',
    separator,
    steps,
    visibilityS,
    serializer,
    db = 0,
    ownKeys = false,
    ownQueues = false,
    transport = {},
    sentinels = [],
  }: CeleryOptions = {},
): Promise<Celery> {
  const python = await preparePython(await readFile(join(folder, 'celery.txt'), 'utf8'));
  if (python instanceof Error) throw python;
  const redis = server.client({ db });
  const env = {
    PATH: process.env['PATH'],
    REDIS_PORT: String(server.port),
    PYTHONPATH: folder,
    ACKS_LATE: acksLate ? '1' : '',
    // what is not set is left out
    TRANSPORT: JSON.stringify({
      global_keyprefix: keyPrefix,
      sep: separator,
      priority_steps: steps,
      visibility_timeout: visibilityS,
      master_name: sentinels.length > 0 ? 'main' : undefined,
      ...transport,
    }),
    BROKER: sentinels.map((node) => `sentinel://${node}/${db}`).join(';'),
    SERIALIZER: serializer ?? 'json',
    // a test may be root, as whom a worker does not read pickle by itself
    ...(serializer && { C_FORCE_ROOT: '1' }),
    BROKER_DB: String(db),
    OWN_KEYS: ownKeys ? '1' : '',
    OWN_QUEUES: ownQueues ? '1' : '',
  };
  const control = celeryControl(keyPrefix, 'answers of the test');
  const processes = workerProcesses();
  const send = async (tasks: number, options: object = {}): Promise<void> => {
    await run(python, [join(folder, 'celery_tasks.py'), String(tasks), JSON.stringify(options)], { env });
  };

  return {
    send,
    push: (tasks, delayMs) => send(tasks, delayMs === undefined ? {} : { delay_ms: delayMs }),
    work: async (place, ...more) => {
      const name = `celery@${place}`;
      const program = ['-m', 'celery', '-A', 'celery_tasks', 'worker', '-c', '1', '-n', name, ...more];
      const worker = processes.start(python, program, { env, detached: true });
      await eventually(
        async () => expect([...(await control.ask(redis, 200)).queues.keys()]).toContain(name),
        { withinMs: 60_000 },
      );
      return worker;
    },
    release: releaseOn(server),
    pushPriorities: async (priorities) => {
      for (const priority of priorities) await send(1, { priority });
    },
    [Symbol.asyncDispose]: () => processes[Symbol.asyncDispose](),
  };
}
