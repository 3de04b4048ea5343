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
import { taskiqSource, type TaskiqSettings } from './taskiq.ts';

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
  readonly taskiq?: TaskiqSettings;
}

type Kind = keyof SourceSettings;

const SOURCES: { readonly [K in Kind]: (settings: Required<SourceSettings>[K]) => Source } = {
  arq: arqSource,
  asynq: asynqSource,
  bullmq: bullMqSource,
  celery: celerySource,
  custom: customSource,
  dramatiq: dramatiqSource,
  list: listSource,
  rq: rqSource,
  saq: saqSource,
  sidekiq: sidekiqSource,
  stream: (settings) => streamSource(settings),
  taskiq: taskiqSource,
};
const KINDS = Object.keys(SOURCES) as Kind[];

/** Throws `RangeError` for settings that no source has, or that cannot be read. */
export function sourceOf(settings: SourceSettings): Source {
  const kind = KINDS.find((one) => settings[one]);
  if (kind) return (SOURCES[kind] as (own: SourceSettings[Kind]) => Source)(settings[kind]);
  const others = Object.keys(settings).filter((name) => !Object.hasOwn(SOURCES, name));
  throw new RangeError(
    `source has ${others.join(', ') || 'no field'}, which this version does not know: use one of ${KINDS.join(', ')}`,
  );
}
