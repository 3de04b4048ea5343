/** Controllers that run a cron on a queue of a Redis of their own. */
import { runCrons, type CronsDone, type CronsState } from '../../controller/act/crons.ts';
import { ConcurrencyPolicy, Missed, type CronSpec } from '../../kube/workerpool.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { startRedis, type RedisServer } from './redis.ts';

/** A cron of every ten minutes. */
export const everyTenMinutes: CronSpec = {
  name: 'report',
  schedule: '*/10 * * * *',
  timeZone: 'UTC',
  task: { kind: 'report' },
  missed: Missed.Last,
  concurrencyPolicy: ConcurrencyPolicy.Allow,
  suspend: false,
};
/** A time of day, in ms since the epoch. */
export const at = (text: string): number => Date.parse(`2026-11-29T${text}Z`);

export interface CronLeader {
  readonly run: (now: string, more?: Partial<CronSpec> & { readonly empty?: boolean }) => Promise<CronsDone>;
  readonly remove: (formerly: readonly string[]) => Promise<CronsDone>;
  /** Resolves when it is connected. */
  readonly connected: () => Promise<unknown>;
}

/** A controller that leads, with a connection as it has and a memory of its own. */
export function cronLeader(server: RedisServer, keys: QueueKeys, stack: AsyncDisposableStack): CronLeader {
  const redis = defineScripts(openBounded(server.address));
  stack.defer(() => redis.disconnect());
  const state: CronsState = new Map();
  const partitioned = false;
  return {
    run: (now, { empty = false, ...more } = {}) =>
      runCrons(
        {
          crons: [{ ...everyTenMinutes, ...more }],
          redis,
          keys,
          partitioned,
          now: at(now),
          empty,
          formerly: [],
        },
        state,
      ),
    remove: (formerly) =>
      runCrons({ crons: [], redis, keys, partitioned, now: at('12:00:00'), empty: false, formerly }, state),
    connected: () => redis.ping(),
  };
}

/** A queue `q` and controllers that run its cron. */
export async function cronScene() {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const keys = queueKeys('q', 'r');
  const redis = server.client();
  return {
    server,
    keys,
    redis,
    lead: () => cronLeader(server, keys, stack),
    /** Tasks in the queue, the oldest first. */
    queued: async () => (await redis.lrange(keys.queue, 0, -1)).toReversed(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export type CronScene = Awaited<ReturnType<typeof cronScene>>;

/** The task of an occurrence, `HH:MM`. */
export const task = (time: string): string => `{"kind":"report","id":"report:2026-11-29T${time}:00Z"}`;
