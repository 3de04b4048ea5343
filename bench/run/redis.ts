/** The Redis of a run: one server for all its measurements, with switchable persistence. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { startLocalRedis } from '../../cli/dev/local-redis.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';

export interface BenchRedis extends AsyncDisposable {
  readonly url: string;
  /** The benchmark's own connection. */
  readonly redis: Redis;
  readonly version: string;
  /** CPU time of the server's main thread and its helpers, ms. */
  cpuMs(): Promise<number>;
  /** Switches the append-only file (`everysec`); resolves when it is in place. */
  setAof(on: boolean): Promise<void>;
  /** One number from INFO. */
  info(field: string): Promise<number>;
}

/** Starts a server without persistence. Rejects with one line if none is available. */
export async function startBenchRedis(progress: (line: string) => void): Promise<BenchRedis> {
  const server = await startLocalRedis({ env: process.env, install: 'ask', onProgress: progress });
  const redis = openRedis({ url: server.url });
  const infoText = async (field: string): Promise<string> => {
    const match = new RegExp(`^${field}:(.*)\r?$`, 'm').exec(await redis.info());
    if (match?.[1] === undefined) throw new Error(`INFO of ${server.what} has no ${field}: it is too old`);
    return match[1].trim();
  };
  const info = async (field: string): Promise<number> => Number(await infoText(field));
  return {
    url: server.url,
    redis,
    info,
    version: `${server.what} ${await infoText('redis_version')}`,
    cpuMs: async () => 1_000 * ((await info('used_cpu_sys')) + (await info('used_cpu_user'))),
    setAof: async (on) => {
      await redis.config('SET', 'appendfsync', 'everysec');
      await redis.config('SET', 'appendonly', on ? 'yes' : 'no');
      // it first writes the existing data
      while ((await info('aof_rewrite_in_progress')) + (await info('aof_rewrite_scheduled')) > 0)
        await delay(20);
    },
    [Symbol.asyncDispose]: async () => {
      await closeRedis(redis);
      await server[Symbol.asyncDispose]();
    },
  };
}
