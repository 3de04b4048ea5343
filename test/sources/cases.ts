/** All libraries of the suites, and a library with the source that reads it. */
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import { readSource } from '../../queue/sources/read.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import type { Source } from '../../queue/sources/source.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { arqCase } from './arq.ts';
import { asynqCase } from './asynq.ts';
import { bullMqCases } from './bullmq.ts';
import { celeryCases } from './celery.ts';
import { dramatiqCase } from './dramatiq.ts';
import type { Library, LibraryCase } from './library.ts';
import { customCase, listCase } from './plain.ts';
import { rqCase } from './rq.ts';
import { saqCase } from './saq.ts';
import { sidekiqCase } from './sidekiq.ts';
import { streamCase } from './stream.ts';
import { taskiqListCase, taskiqStreamCase } from './taskiq.ts';

export const cases: readonly LibraryCase[] = [
  listCase,
  customCase,
  streamCase,
  asynqCase,
  ...bullMqCases,
  rqCase,
  saqCase,
  arqCase,
  dramatiqCase,
  taskiqStreamCase,
  taskiqListCase,
  sidekiqCase,
  ...celeryCases,
];

/** Of each library, the newest version that the suites have. */
export const firstCases: readonly LibraryCase[] = cases.filter(
  (one, i) => cases.findIndex((other) => kindOf(other) === kindOf(one)) === i,
);

/** The field of `spec.source`. */
export function kindOf({ settings }: LibraryCase): string {
  return Object.keys(settings)[0] ?? '';
}

export interface Scene<L extends Library = Library> extends AsyncDisposable {
  readonly server: RedisServer;
  readonly redis: Redis;
  readonly library: L;
  readonly source: Source;
  /** Resolves when a read finds this. */
  readonly sees: (parts: Partial<PoolSample>) => Promise<void>;
}

/** On a server of its own. */
export async function openScene<L extends Library>({
  settings,
  open: openLibrary,
}: LibraryCase<L>): Promise<Scene<L>> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const redis = server.client();
  const library = stack.use(await openLibrary(server));
  const source = sourceOf(settings);
  const kept = stack.move();
  return {
    server,
    redis,
    library,
    source,
    sees: (parts) =>
      eventually(async () => expect((await readSource(redis, source, 0)).sample).toMatchObject(parts)),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
