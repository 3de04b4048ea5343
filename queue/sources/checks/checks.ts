/**
 * `queue/sources/checks/` takes the settings of a source and returns what may be wrong with its workers: queues that nobody takes
 * from, workers without a heartbeat, tasks that outlast the time after which their library gives them to another. It is for
 * `millrace doctor`, which asks rarely, so nothing here is part of a count. It only reads.
 */
import type { Redis } from 'ioredis';
import type { SourceSettings } from '../sources.ts';
import type { Ask } from '../ask.ts';
import type { SourceAdvice } from './advice.ts';
import { checkArq } from './arq.ts';
import { checkAsynq } from './asynq.ts';
import { checkBullMq } from './bullmq.ts';
import { checkCelery } from './celery.ts';
import { checkDramatiq } from './dramatiq.ts';
import { checkRq } from './rq.ts';
import { checkSaq } from './saq.ts';
import { checkSidekiq } from './sidekiq.ts';
import { checkStream } from './stream.ts';

type Kind = keyof SourceSettings;
type Checks = {
  readonly [K in Kind]?: (
    settings: Required<SourceSettings>[K],
    ask: Ask,
    redis: Redis,
  ) => Promise<readonly SourceAdvice[]>;
};

/** A list and a format of one's own say nothing of their workers. */
const CHECKS: Checks = {
  arq: checkArq,
  asynq: checkAsynq,
  bullmq: checkBullMq,
  celery: checkCelery,
  dramatiq: checkDramatiq,
  rq: checkRq,
  saq: checkSaq,
  sidekiq: checkSidekiq,
  stream: checkStream,
  taskiq: async ({ queues, group }, ask) =>
    group === undefined ? [] : checkStream({ keys: queues, group }, ask),
};

/** Throws what `ask` throws. */
export async function adviseOnWorkers(
  settings: SourceSettings,
  ask: Ask,
  redis: Redis,
): Promise<readonly SourceAdvice[]> {
  const kind = (Object.keys(CHECKS) as Kind[]).find((one) => settings[one]);
  const check =
    kind && (CHECKS[kind] as (own: object, ask: Ask, redis: Redis) => Promise<readonly SourceAdvice[]>);
  return kind && check ? check(settings[kind] as object, ask, redis) : [];
}
