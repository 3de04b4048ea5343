/** asynq, with its servers as processes of their own. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { prepareGo } from '../support/go.ts';
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase, LibraryWorker } from './library.ts';
import { RELEASED, releaseOn, workerProcesses } from './processes.ts';

const run = promisify(execFile);
const QUEUE = 'mail';
const SERVERS = 'asynq:servers';

export const prepareAsynq = (): Promise<string> => prepareGo(join(import.meta.dirname, 'go'));

export interface AsynqLibrary extends Library {
  readonly group: (tasks: number) => Promise<void>;
  /** Lets a running task fail. */
  readonly fail: () => Promise<void>;
  /** As `work`, of a server that takes from a queue of this name. */
  readonly workOn: (place: string, queue: string) => Promise<LibraryWorker>;
}

export const asynqCase = {
  name: 'asynq 0.26.0',
  settings: { asynq: { queues: [QUEUE] } },
  keys: 'asynq:*',
  open: async (server: RedisServer, queue?: string): Promise<AsynqLibrary> =>
    openAsynq(await prepareAsynq(), server, queue),
} satisfies LibraryCase;

function openAsynq(program: string, server: RedisServer, own = QUEUE): AsynqLibrary {
  const redis = server.client();
  const gate = server.client({ db: 1 });
  const env = { PATH: process.env['PATH'], REDIS_PORT: String(server.port), QUEUE: own };
  const call = async (...args: readonly string[]): Promise<void> => {
    await run(program, args, { env });
  };
  const processes = workerProcesses();

  const workOn = async (place: string, queue: string): Promise<LibraryWorker> => {
    const before = await redis.zcard(SERVERS);
    // a name of its own for the host, as in a pod; asynq takes no other
    const named = ['--uts', 'sh', '-c', 'hostname "$0" && exec "$@"', place, program, 'work', queue];
    const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
    const worker = processes.start('unshare', [...user, ...named], { env });
    await eventually(async () => expect(await redis.zcard(SERVERS)).toBeGreaterThan(before));
    return worker;
  };

  return {
    push: (tasks, delayMs) =>
      call('push', String(tasks), ...(delayMs === undefined ? [] : [String(delayMs)])),
    group: (tasks) => call('group', String(tasks)),
    work: (place) => workOn(place, own),
    workOn,
    release: releaseOn(server),
    fail: async () => {
      await gate.rpush(RELEASED, 'fail');
    },
    pause: (on) => call(on ? 'pause' : 'resume'),
    [Symbol.asyncDispose]: () => processes[Symbol.asyncDispose](),
  };
}
