/**
 * Does what the plan says, to what is there at that moment. Faults overlap; only what concerns the life of Redis, and a
 * plain worker that must not lose its connection, go one at a time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { parseTask } from '../../queue/task.ts';
import type { RedisServer } from '../support/redis.ts';
import type { TcpProxy } from '../support/tcpproxy.ts';
import type { DoneFault } from './check.ts';
import { runPlainWorker } from './clients.ts';
import type { Controller } from './controller.ts';
import type { Fleet, Pod } from './fleet.ts';
import type { Fault } from './plan.ts';

export interface Scene {
  readonly server: RedisServer;
  /** Straight to the server. */
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly fleet: Fleet;
  readonly controller: Controller;
  readonly clientProxy: TcpProxy;
  readonly controllerProxy: TcpProxy;
  /** Ids that a plain worker took. */
  readonly plain: string[];
}

export interface Striker {
  /** Resolves when the fault is over, to what was done. */
  strike(fault: Fault): Promise<DoneFault>;
  /** Does something that needs a Redis without faults of its own. */
  inPeace<T>(work: () => Promise<T>): Promise<T>;
}

export function createStriker(scene: Scene): Striker {
  const { server, redis, fleet, controller } = scene;
  let redisIsFree: Promise<unknown> = Promise.resolve();

  function oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const done = redisIsFree.then(work);
    redisIsFree = done.catch(() => undefined);
    return done;
  }

  function choose(who: number, share = 0): Pod[] {
    const { pods } = fleet;
    const count = Math.min(pods.length, Math.max(1, Math.round(pods.length * share)));
    const first = Math.floor(who * pods.length);
    return Array.from({ length: count }, (_, i) => pods[(first + i) % pods.length] as Pod);
  }

  /** The proxies of those whose connections a fault breaks, and their names. */
  function lines(
    whose: 'worker' | 'workers' | 'clients' | 'controller',
    who: number,
  ): [TcpProxy[], string[]] {
    if (whose === 'clients') return [[scene.clientProxy], []];
    if (whose === 'controller') return [[scene.controllerProxy], []];
    const hit = choose(who, whose === 'workers' ? 1 : 0);
    return [hit.map(({ proxy }) => proxy), hit.map(({ id }) => id)];
  }

  async function act(fault: Fault): Promise<DoneFault['workers']> {
    switch (fault.kind) {
      case 'kill': {
        const hit = choose(fault.who, fault.share);
        for (const pod of hit) fleet.kill(pod, fault.back);
        return hit.map(({ id }) => id);
      }
      case 'pause': {
        const hit = choose(fault.who);
        for (const { child } of hit) child.kill('SIGSTOP');
        await delay(fault.ms);
        for (const { child } of hit) child.kill('SIGCONT');
        return hit.map(({ id }) => id);
      }
      case 'evict': {
        for (const pod of choose(fault.who)) fleet.evict(pod);
        break;
      }
      case 'cut': {
        const [proxies, names] = lines(fault.whose, fault.who);
        for (const proxy of proxies) proxy.cut();
        return names;
      }
      case 'half-open': {
        const [proxies, names] = lines(fault.whose, fault.who);
        for (const proxy of proxies) proxy.swallow();
        return names;
      }
      case 'stall': {
        const hit = choose(fault.who);
        for (const { proxy } of hit)
          proxy.stall(...(fault.direction === 'both' ? [] : ([fault.direction] as const)));
        await delay(fault.ms);
        for (const { proxy } of hit) proxy.resume();
        return hit.map(({ id }) => id);
      }
      case 'redis-restart':
        await oneAtATime(async () => {
          await (fault.signal === 'SIGKILL' ? server.kill() : server.terminate());
          await delay(fault.downMs);
          await server.start();
        });
        return 'all';
      case 'redis-freeze':
        await oneAtATime(async () => {
          server.stop();
          await delay(fault.ms);
          server.cont();
        });
        return 'all';
      case 'script-flush':
        await oneAtATime(() => redis.script('FLUSH'));
        break;
      case 'controller-kill':
        await controller.kill();
        await delay(fault.downMs);
        if (!controller.alive) controller.start();
        break;
      case 'plain-worker': {
        const idOf = (raw: string): string => parseTask(Buffer.from(raw)).id.toString();
        const ids = await oneAtATime(() => runPlainWorker(redis, scene.keys, fault.tasks, idOf));
        scene.plain.push(...ids);
        break;
      }
    }
    return [];
  }

  return {
    inPeace: oneAtATime,
    strike: async (fault) => {
      const from = Date.now();
      const workers = await act(fault);
      const { kind, ...details } = fault;
      return {
        kind: nameOf(fault),
        what: `${kind} ${JSON.stringify(details)}`,
        from,
        to: Date.now(),
        workers,
      };
    },
  };
}

/** The kind, with what makes it another fault: a short pause is not a long one. */
export function nameOf(fault: Fault): string {
  const { kind } = fault;
  if (kind === 'kill') return fault.share > 0 ? 'kill many' : `kill, ${fault.back}`;
  if (kind === 'cut' || kind === 'half-open') return `${kind} ${fault.whose}`;
  if (kind === 'stall') return `stall ${fault.direction}`;
  return kind === 'redis-restart' ? `redis ${fault.signal}` : kind;
}
