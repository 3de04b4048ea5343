/** Progress of running tasks, as reported by their handlers: stored per worker, deleted with the task or the worker. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { readCut } from './scripts/read.ts';
import { asList, asText } from './scripts/decode-reply.ts';
import { script } from './scripts/scripts.ts';

export interface TaskProgress {
  readonly id: string;
  readonly worker: string;
  /** The handler's last report. */
  readonly value: unknown;
}

/** Longer reports are not shown: truncated JSON does not parse. */
const LONGEST = 4_096;

function parseOrUndefined(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return undefined;
  }
}

/** Writes reports and deletes those of tasks that ended. Resolves to `false`, and writes nothing, if the worker is fenced. */
export async function noteProgress(
  redis: Redis,
  keys: QueueKeys,
  { worker, epoch }: { readonly worker: string; readonly epoch: number },
  reports: readonly { readonly id: string | Buffer; readonly json: string }[],
  ended: readonly (string | Buffer)[],
): Promise<boolean> {
  const args = [...reports.flatMap(({ id, json }) => [id, json]), ...ended];
  const noted = await script(redis, 'progress')(
    keys.worker(worker),
    keys.progress(worker),
    epoch,
    reports.length,
    ...args,
  );
  return noted === 1;
}

/** The last report of the task's handler; `undefined` if it is not running, or has reported nothing. */
export async function readProgress(redis: Redis, keys: QueueKeys, id: string | Buffer): Promise<unknown> {
  const workers = await redis.hkeys(keys.load);
  const found = await Promise.all(workers.map((worker) => redis.hget(keys.progress(worker), id)));
  return parseOrUndefined(found.find((value) => value !== null) ?? '');
}

/** The reports of these workers' handlers: about `most` tasks per worker. */
export async function listProgress(
  redis: Redis,
  keys: QueueKeys,
  workers: readonly string[],
  most = 100,
): Promise<TaskProgress[]> {
  const scans = workers.map(async (worker) => {
    // the cursor, then alternating fields and values
    const cut = { bytes: LONGEST, values: 1 + 2 * most };
    const found = asList(
      await readCut(redis, keys.progress(worker), cut, 'HSCAN', 0, 'COUNT', most),
      'a scan',
      2,
    );
    const fields = asList(found[1], 'fields').map((field) => asText(field, 'what is reported', LONGEST));
    const pairs = Array.from({ length: Math.floor(fields.length / 2) }, (_, i) => fields.slice(2 * i));
    return pairs.flatMap(([id = '', json = 'null']) => {
      const value = parseOrUndefined(json);
      return value === undefined ? [] : [{ id, worker, value }];
    });
  });
  return (await Promise.all(scans)).flat();
}
