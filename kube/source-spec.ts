/**
 * `spec.source`: whose tasks a pool's workers run, where these are not Millrace's own. One field is set, the library; each has
 * the settings of queue/sources/. Pure.
 */
export interface SourceSpec {
  readonly arq?: { readonly queues: string[] };
  readonly asynq?: { readonly queues: string[] };
  readonly bullmq?: { readonly queues: string[]; readonly prefix: string };
  /** As the transport options `priority_steps`, `global_keyprefix` and `sep`. */
  readonly celery?: {
    readonly queues: string[];
    readonly prioritySteps: number[];
    readonly exchanges?: string[];
    readonly keyPrefix?: string;
    readonly separator?: string;
  };
  readonly custom?: CustomSourceSpec;
  readonly dramatiq?: { readonly queues: string[]; readonly namespace?: string };
  /** `longestTask`: a duration. */
  readonly list?: { readonly keys: string[]; readonly longestTask?: string };
  readonly rq?: { readonly queues: string[]; readonly prefix?: string };
  readonly saq?: { readonly queues: string[] };
  readonly sidekiq?: { readonly queues: string[] };
  /** `longestTask`: a duration. */
  readonly stream?: { readonly keys: string[]; readonly group: string; readonly longestTask?: string };
  /** `group`: where the broker is RedisStreamBroker. `longestTask`: a duration. */
  readonly taskiq?: { readonly queues: string[]; readonly group?: string; readonly longestTask?: string };
}

export interface CustomSourceSpec {
  readonly waiting: ReadingSpec[];
  readonly inHand?: ReadingSpec[];
  readonly delayed?: { readonly key: string; readonly unit: 's' | 'ms'; readonly scale: number }[];
  /** All-time count of finished tasks. */
  readonly finished?: ReadingSpec;
  readonly longestTask?: string;
}

/** A command that reads one number. */
export interface ReadingSpec {
  readonly command: 'LLEN' | 'ZCARD' | 'ZCOUNT' | 'HLEN' | 'SCARD' | 'XLEN' | 'XPENDING' | 'GET' | 'HGET';
  readonly key: string;
  readonly args?: string[];
}

/** What people call the queues of a source, such as `bullmq:mail`; beside the first name, Millrace keeps what it recorded. */
export function sourceQueues({
  arq,
  asynq,
  bullmq,
  celery,
  custom,
  dramatiq,
  list,
  rq,
  saq,
  sidekiq,
  stream,
  taskiq,
  ...other
}: SourceSpec): readonly string[] {
  if (arq) return arq.queues.map((queue) => (queue.startsWith('arq:') ? queue : `arq:${queue}`));
  if (asynq) return asynq.queues.map((queue) => `asynq:${queue}`);
  if (bullmq) {
    const prefix = bullmq.prefix === 'bull' ? '' : `${bullmq.prefix}:`;
    return bullmq.queues.map((queue) => `bullmq:${prefix}${queue}`);
  }
  if (celery) return celery.queues.map((queue) => `celery:${celery.keyPrefix ?? ''}${queue}`);
  if (custom) return custom.waiting.map(({ key }) => `custom:${key}`);
  if (dramatiq) {
    const { namespace = 'dramatiq' } = dramatiq;
    return dramatiq.queues.map(
      (queue) => `dramatiq:${namespace === 'dramatiq' ? '' : `${namespace}:`}${queue}`,
    );
  }
  if (list) return list.keys.map((key) => `list:${key}`);
  if (rq) {
    const prefix = (rq.prefix ?? 'rq') === 'rq' ? '' : `${rq.prefix}:`;
    return rq.queues.map((queue) => `rq:${prefix}${queue}`);
  }
  if (saq) return saq.queues.map((queue) => `saq:${queue}`);
  if (sidekiq) return sidekiq.queues.map((queue) => `sidekiq:${queue}`);
  if (stream) return stream.keys.map((key) => `stream:${key}`);
  if (taskiq) return taskiq.queues.map((queue) => `taskiq:${queue}`);
  // of a later version: reported, and not crashed at
  return Object.keys(other).length > 0 ? Object.keys(other) : ['source'];
}

/** Whether tasks that were taken are counted, so that waits can be measured; the CRD allows `targetWait` by the same rule. */
export function countsFinished({ asynq, sidekiq, custom, stream, taskiq }: SourceSpec): boolean {
  if (custom) return custom.finished !== undefined && custom.inHand !== undefined;
  if (taskiq) return taskiq.group !== undefined && !taskiq.longestTask;
  return asynq !== undefined || sidekiq !== undefined || (stream !== undefined && !stream.longestTask);
}
