/** The workers of a library under test as processes of their own, and the gate behind which their tasks wait. */
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import type { Redis } from 'ioredis';
import type { RedisServer } from '../support/redis.ts';
import type { LibraryWorker } from './library.ts';

export interface WorkerProcesses extends AsyncDisposable {
  /** A `detached` one is killed with all the processes that it has started, as a pod is. */
  readonly start: (program: string, args: readonly string[], options: SpawnOptions) => LibraryWorker;
}

export function workerProcesses(): WorkerProcesses {
  const ends = new Map<ChildProcess, (signal: NodeJS.Signals) => Promise<void>>();
  return {
    start: (program, args, options) => {
      const child = spawn(program, args, { ...options, stdio: 'ignore' });
      const end = async (signal: NodeJS.Signals): Promise<void> => {
        if (!ends.delete(child) || child.exitCode !== null) return;
        const gone = once(child, 'exit');
        if (signal === 'SIGKILL' && options.detached) process.kill(-(child.pid ?? 0), signal);
        else child.kill(signal);
        await gone;
      };
      ends.set(child, end);
      return { stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
    },
    [Symbol.asyncDispose]: async () => {
      for (const end of ends.values()) await end('SIGKILL');
    },
  };
}

/** Tasks wait for an element of this list in database 1. */
export const RELEASED = 'released';

/** Lets so many running tasks end, in any order. */
export function releaseOn(server: RedisServer): (tasks: number) => Promise<void> {
  const gate = server.client({ db: 1 });
  return async (tasks) => {
    for (let i = 0; i < tasks; i++) await gate.rpush(RELEASED, '1');
  };
}

/** Tasks that wait for their release now, by what the server says of their connections. */
export async function tasksAtGate(redis: Redis): Promise<number> {
  const clients = String(await redis.client('LIST')).split('\n');
  return clients.filter((line) => / flags=\w*b\w* db=1 /.test(line)).length;
}

/** Releases that no task has used yet. */
export function unusedReleases(gate: Redis): Promise<number> {
  return gate.llen(RELEASED);
}
