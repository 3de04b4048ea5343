/**
 * The sources by the field of `spec.source` that chooses one. To add a library: a file beside this one, a line here, its settings
 * in kube/source-spec.ts and the definition, its case in test/sources/, its row in docs/sources.md.
 */
import { arqSource, type ArqSettings } from './arq.ts';
import { asynqSource, type AsynqSettings } from './asynq.ts';
import { bullMqSource, type BullMqSettings } from './bullmq.ts';
import { celerySource, type CelerySettings } from './celery.ts';
import { customSource, type CustomSettings } from './custom.ts';
import { dramatiqSource, type DramatiqSettings } from './dramatiq.ts';
import { listSource, type ListSettings } from './list.ts';
import { rqSource, type RqSettings } from './rq.ts';
import { saqSource, type SaqSettings } from './saq.ts';
import { sidekiqSource, type SidekiqSettings } from './sidekiq.ts';
import type { Source } from './source.ts';
import { streamSource, type StreamSettings } from './stream.ts';

/** One of them is set. */
export interface SourceSettings {
  readonly arq?: ArqSettings;
  readonly asynq?: AsynqSettings;
  readonly bullmq?: BullMqSettings;
  readonly celery?: CelerySettings;
  readonly custom?: CustomSettings;
  readonly dramatiq?: DramatiqSettings;
  readonly list?: ListSettings;
  readonly rq?: RqSettings;
  readonly saq?: SaqSettings;
  readonly sidekiq?: SidekiqSettings;
  readonly stream?: StreamSettings;
}

/** Throws `RangeError` for settings that no source has, or that cannot be read. */
export function sourceOf({
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
  ...rest
}: SourceSettings): Source {
  if (arq) return arqSource(arq);
  if (asynq) return asynqSource(asynq);
  if (bullmq) return bullMqSource(bullmq);
  if (celery) return celerySource(celery);
  if (custom) return customSource(custom);
  if (dramatiq) return dramatiqSource(dramatiq);
  if (list) return listSource(list);
  if (rq) return rqSource(rq);
  if (saq) return saqSource(saq);
  if (sidekiq) return sidekiqSource(sidekiq);
  if (stream) return streamSource(stream);
  throw new RangeError(
    `source has ${Object.keys(rest).join(', ') || 'no field'}, which this version does not know: use one of arq, asynq, bullmq, celery, custom, dramatiq, list, rq, saq, sidekiq, stream`,
  );
}
