/**
 * `worker/turn/` takes a batch of outcomes and returns the reply of Redis, resending it as often as necessary and splitting
 * off outcomes that are refused. It starts no task.
 *
 * Sends a worker's turns. Where a turn fails because of what it settles, the same turn goes out without outcomes, so that
 * the lease is renewed and tasks are taken, and the outcomes are split (refused-outcomes.ts) and settled by the turns that follow.
 *
 * Nothing is settled twice or never, although the reply of a turn that seems refused may only have been lost: turns of one
 * number have forms; Redis executes the first one that arrives, and its reply contains that form (turn.lua).
 */
import type { Redis } from 'ioredis';
import { dropRedis } from '../../queue/connection/connection.ts';
import { watchDrops, type Drops } from '../../queue/connection/drops.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { turn, type Settled, type TurnReply, type TurnRequest } from '../../queue/workers/turn.ts';
import type { Logger } from '../../runtime/log.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import type { OutcomePart, OutcomeParts } from './refused-outcomes.ts';
import type { ReplicationWait } from './replication.ts';
import type { Resender } from './resend.ts';
import { turnRefusalOf, type TurnRefusal } from './refusal.ts';
import { createResultStore, type ResultsElsewhere } from './result-store.ts';
import { settledOf } from '../../queue/outcomes/settled.ts';

export interface TurnSenderOptions {
  readonly redis: Redis;
  /** Of `redis`. */
  readonly drops: Drops;
  /** Opens one more connection, with Millrace's scripts. */
  readonly openSpare: () => Redis;
  readonly keys: QueueKeys;
  /** Where the result hash is on another server: results are stored there before the turn. */
  readonly results: ResultsElsewhere | undefined;
  readonly replication: Pick<ReplicationWait, 'stored'>;
  readonly resender: Resender;
  readonly parts: OutcomeParts;
  readonly log: Logger;
}

export interface TurnSender extends Disposable {
  /** Makes a turn that settles `part`. Resolves to `undefined` when there was no answer and no time is left. */
  send(request: Omit<TurnRequest, 'settled' | 'form'>, part: OutcomePart): Promise<TurnReply | undefined>;
}

const NOTHING: Settled = { results: [], retries: [], dead: [], released: [], cancelled: [], serviceUs: 0 };
/** Most states of a server pass by themselves: the whole turn is sent this many times first. */
const STATE_FAILURES = 3;

export function createTurnSender(options: TurnSenderOptions): TurnSender {
  const { redis, keys, resender, parts, log } = options;
  const elsewhere = options.results && createResultStore(options.results, options.replication);
  let spare: { readonly redis: Redis; readonly drops: Drops } | undefined;

  function connection(apart: boolean): { readonly redis: Redis; readonly drops: Drops } {
    if (!apart) return options;
    if (spare) return spare;
    const opened = options.openSpare();
    return (spare = { redis: opened, drops: watchDrops(opened) });
  }

  function closeSpare(): void {
    if (spare) dropRedis(spare.redis);
    spare = undefined;
  }

  async function settle(by: Redis, request: TurnRequest, { entries }: OutcomePart): Promise<TurnReply> {
    if (!elsewhere) return await turn(by, keys, request);
    await elsewhere.store(entries, request.settled.results, request.leaseMs);
    return await turn(by, keys, { ...request, stored: true, resultName: options.results?.key });
  }

  /** Resolves to the reply, or to why the server refuses the outcomes. */
  async function attempt(
    request: TurnRequest,
    part: OutcomePart,
  ): Promise<TurnReply | TurnRefusal | undefined> {
    if (part.entries.length === 0) return await resender.send(() => turn(redis, keys, request));
    const by = connection(part.apart);
    let refusal: TurnRefusal | undefined;
    const final = (error: unknown, failures: number): boolean => {
      refusal = turnRefusalOf(error);
      return (
        refusal !== undefined && (refusal.kind !== 'state' || part.deferred || failures >= STATE_FAILURES)
      );
    };
    try {
      return await resender.send(() => by.drops.guard(() => settle(by.redis, request, part)), final);
    } catch (error) {
      if (refusal) return refusal;
      throw error;
    }
  }

  async function sendWithout(
    request: TurnRequest,
    part: OutcomePart,
    refusal: TurnRefusal,
  ): Promise<TurnReply | undefined> {
    let failures = 0;
    // after a refusal there may be no memory for more tasks
    const want = refusal.kind === 'state' ? 0 : request.want;
    const without = { ...request, want, settled: NOTHING, form: 1 };
    const reply = await resender.send(() =>
      turn(redis, keys, without).catch((error: unknown) => {
        failures++;
        throw error;
      }),
    );
    // the turn that seemed refused was executed
    if (reply?.kind !== 'held' || reply.form === 0) return reply;
    const what = parts.refused(part, refusal, failures === 0, performance.now());
    logRefusal(part, refusal, what);
    return reply;
  }

  function logRefusal(
    part: OutcomePart,
    { reason }: TurnRefusal,
    what: ReturnType<OutcomeParts['refused']>,
  ): void {
    if (what === 'again' || (what === 'deferred' && part.deferred)) return;
    const outcomes = part.entries.length;
    const task = part.entries[0]?.id.toString().slice(0, 100);
    if (what === 'cut') {
      if (!part.apart)
        log.error({ outcomes, reason }, 'Redis refuses to settle some tasks; finding out which');
    } else {
      const { event, message } = REFUSED[what];
      log.error({ event, task, outcome: part.entries[0]?.outcome.kind, reason }, message);
    }
  }

  return {
    send: async (about, part) => {
      const { entries, settled = settledOf(entries, about.worker, elsewhere !== undefined) } = part;
      const request = { ...about, settled, form: 0 };
      const answer = await attempt(request, part);
      if (answer !== undefined && 'reason' in answer) return await sendWithout(request, part, answer);
      if (answer?.kind === 'held' && part.deferred) parts.recovered(performance.now());
      if (parts.size === 0) closeSpare();
      return answer;
    },
    [Symbol.dispose]: closeSpare,
  };
}

const REFUSED = {
  buried: {
    event: LogEvent.OutcomeDead,
    message: 'Redis refuses the outcome of a task: it becomes a dead letter',
  },
  deferred: {
    event: LogEvent.OutcomeDeferred,
    message: 'the outcome of a task cannot be stored now; retrying until it can',
  },
} as const;
