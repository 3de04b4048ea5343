/**
 * Does what the plan says, to what is there at that moment. Faults overlap; only what concerns the life of Redis, and a
 * plain worker that must not lose its connection, go one at a time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { parseTask } from '../../queue/task.ts';
import type { TcpProxy } from '../support/tcpproxy.ts';
import type { Transaction } from './aof.ts';
import type { DoneFault } from './check.ts';
import { PLAIN_RESULT, runPlainWorker } from './clients.ts';
import type { Controller } from './controller.ts';
import { chosen, strikeWorkers } from './fleet-faults.ts';
import type { Fleet, Pod } from './fleet.ts';
import type { Fault } from './plan.ts';
import type { Primary } from './primary.ts';

export interface Scene {
  readonly primary: Primary;
  /** To whoever is the primary. */
  readonly redis: Redis;
  /** The first is the one from which plain workers take. */
  readonly queues: readonly QueueKeys[];
  readonly fleet: Fleet;
  readonly controller: Controller;
  readonly clientProxy: TcpProxy;
  readonly controllerProxy: TcpProxy;
  /** Ids that a plain worker took. */
  readonly plain: string[];
  /** And the tasks themselves. */
  readonly plainTasks: string[];
}

export interface Striker {
  /** Resolves when the fault is over, to what was done. */
  strike(fault: Fault): Promise<DoneFault>;
  /** Does something that needs a Redis without faults of its own. */
  inPeace<T>(work: () => Promise<T>): Promise<T>;
}

export function createStriker(scene: Scene): Striker {
  const { primary, redis, fleet, controller } = scene;
  let redisIsFree: Promise<unknown> = Promise.resolve();

  function oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const done = redisIsFree.then(work);
    redisIsFree = done.catch(() => undefined);
    return done;
  }

  /** Sets one of the server's settings from 0 to `value` for a while. Straight to the server: no proxy may swallow it. */
  async function configured(name: string, value: string, ms: number): Promise<void> {
    const admin = primary.server.client();
    await admin.config('SET', name, value);
    await delay(ms);
    await admin.config('SET', name, '0');
  }

  /** The proxies of those whose connections a fault breaks, and their names. */
  function lines(
    whose: 'worker' | 'workers' | 'clients' | 'controller',
    who: number,
  ): [TcpProxy[], string[]] {
    if (whose === 'clients') return [[scene.clientProxy], []];
    if (whose === 'controller') return [[scene.controllerProxy], []];
    const hit = chosen(fleet, who, whose === 'workers' ? 1 : 0);
    return [proxiesOf(hit), hit.map(({ id }) => id)];
  }

  async function act(fault: Fault): Promise<DoneFault['workers']> {
    switch (fault.kind) {
      case 'kill':
      case 'pause':
      case 'evict':
        return await strikeWorkers(fleet, fault);
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
        const hit = chosen(fleet, fault.who);
        for (const proxy of proxiesOf(hit))
          proxy.stall(...(fault.direction === 'both' ? [] : ([fault.direction] as const)));
        await delay(fault.ms);
        for (const proxy of proxiesOf(hit)) proxy.resume();
        return hit.map(({ id }) => id);
      }
      case 'redis-restart':
        await oneAtATime(async () => {
          const { server } = primary;
          await (fault.signal === 'SIGKILL' ? server.kill() : server.terminate());
          await delay(fault.downMs);
          await server.start();
        });
        return 'all';
      case 'redis-freeze':
        await oneAtATime(async () => {
          primary.server.stop();
          await delay(fault.ms);
          primary.server.cont();
        });
        return 'all';
      case 'forget':
        await oneAtATime(() => primary.forget(fault.steps, isPlain));
        return 'all';
      case 'failover':
        await oneAtATime(() => primary.failOver(fault.lagMs));
        return 'all';
      case 'split':
        await oneAtATime(() =>
          primary.failOver(fault.lagMs, async () => {
            for (const proxy of proxiesOf(chosen(fleet, 0, 0.5))) proxy.cut();
            await delay(fault.splitMs);
          }),
        );
        return 'all';
      case 'redis-full':
        await oneAtATime(() => configured('maxmemory', '1', fault.ms));
        return 'all';
      case 'redis-refuses':
        await oneAtATime(() => configured('min-replicas-to-write', '1', fault.ms));
        return 'all';
      case 'clock-step':
        await oneAtATime(async () => {
          // whether or not it answers meanwhile
          primary.server.setClock(fault.byMs).catch(() => undefined);
          await delay(fault.ms);
          primary.server.setClock(0).catch(() => undefined);
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
        const [keys] = scene.queues as readonly [QueueKeys];
        const taken = await oneAtATime(() => runPlainWorker(redis, keys, fault.tasks, idOf));
        scene.plain.push(...taken.map(({ id }) => id));
        scene.plainTasks.push(...taken.map(({ raw }) => raw));
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

const proxiesOf = (pods: readonly Pod[]): TcpProxy[] => pods.flatMap(({ reach: { proxy } }) => proxy ?? []);

/** A step of a plain worker, which has no lease that could tell it that the server forgot: a pop, or a result. */
function isPlain(step: Transaction): boolean {
  const [[name, ...args] = []] = step;
  if (step.length > 1) return false;
  return String(name).toUpperCase() === 'RPOP' || args.some((arg) => arg.toString() === PLAIN_RESULT);
}

/** The kind, with what makes it another fault: a short pause is not a long one. */
export function nameOf(fault: Fault): string {
  const { kind } = fault;
  if (kind === 'kill') return fault.share > 0 ? 'kill many' : `kill, ${fault.back}`;
  if (kind === 'cut' || kind === 'half-open') return `${kind} ${fault.whose}`;
  if (kind === 'stall') return `stall ${fault.direction}`;
  return kind === 'redis-restart' ? `redis ${fault.signal}` : kind;
}
