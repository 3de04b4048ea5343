/** Checks whether a server may evict tasks: at each connection, as settings may differ after a failover, and every minute. */
import type { Redis } from 'ioredis';
import { describeRisk, evictionRisk } from '../../queue/connection/eviction.ts';
import type { Logger } from '../../runtime/log.ts';
import { interval } from '../../runtime/timers.ts';

export interface EvictionWatches extends Disposable {
  /** Checks a server until its connection has ended. */
  watch(redis: Redis): void;
  /** Of any of them, human-readable: what can happen and what to do about it; `undefined` when nothing can. */
  readonly risk: string | undefined;
}

interface EvictionWatch extends Disposable {
  readonly risk: string | undefined;
}

const INTERVAL_MS = 60_000;

export function createEvictionWatches({
  log,
  onChange,
  everyMs,
}: {
  readonly log: Logger;
  readonly onChange: () => void;
  readonly everyMs: number | undefined;
}): EvictionWatches {
  const watches = new Map<Redis, EvictionWatch>();
  return {
    watch: (redis) => {
      const watch = watchEviction(redis, log, onChange, everyMs);
      watches.set(redis, watch);
      redis.once('end', () => {
        watch[Symbol.dispose]();
        watches.delete(redis);
      });
    },
    get risk() {
      return [...watches.values()].find(({ risk }) => risk !== undefined)?.risk;
    },
    [Symbol.dispose]: () => {
      for (const watch of watches.values()) watch[Symbol.dispose]();
    },
  };
}

/** `onChange` is called when the risk changes. */
function watchEviction(
  redis: Redis,
  log: Logger,
  onChange: () => void,
  everyMs = INTERVAL_MS,
): EvictionWatch {
  let risk: string | undefined;

  async function check(): Promise<void> {
    if (redis.status !== 'ready') return;
    const now = await evictionRisk(redis);
    const found = now && describeRisk(now);
    if (found === risk) return;
    risk = found;
    if (risk) log.error(risk);
    onChange();
  }

  const onReady = (): void => void check();
  redis.on('ready', onReady);
  const timer = interval(everyMs, onReady);
  return {
    get risk() {
      return risk;
    },
    [Symbol.dispose]: () => {
      timer.clear();
      redis.off('ready', onReady);
    },
  };
}
