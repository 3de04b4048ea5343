/** What is wrong with the source of a pool: names, layout, keys, and workers that hold tasks without a trace. */
import type { Redis } from 'ioredis';
import type { SourceSpec } from '../../kube/source-spec.ts';
import { WrongKeyType } from '../../queue/pool/sample.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { adviseOnWorkers } from '../../queue/sources/checks/checks.ts';
import { namesHere } from '../../queue/sources/checks/names.ts';
import { readSource } from '../../queue/sources/read.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { SourceTrouble, type Holding, type Source, type SourceWorkers } from '../../queue/sources/source.ts';
import { fail, ok, warn, type Finding } from './finding.ts';
import { plural } from '../../runtime/plural.ts';

/** `names`: what people call its queues. Changes nothing; rejects when the server goes away meanwhile. */
export async function checkSource(
  redis: Redis,
  spec: SourceSpec,
  names: readonly string[],
): Promise<Finding[]> {
  const about = `source ${names.join(', ')}`;
  try {
    const source = sourceOf(spec);
    const { sample } = await readSource(redis, source, 0);
    // the answers of workers that are asked are there after this
    const holding = await checkHolding(redis, source, sample);
    const advice = await adviseOnWorkers(spec, createAsk(redis), redis);
    const missing = isNothing(sample) ? await explainMissing(redis, spec, names) : undefined;
    return [
      missing === undefined ? ok(about, describe(sample)) : warn(about, missing, EMPTY_OR_WRONG),
      ...holding,
      ...advice.map(({ note, todo }) => warn('workers', note, todo)),
    ];
  } catch (error) {
    if (error instanceof SourceTrouble)
      return [fail(about, error.note + (await explainNotFound(redis, spec, error)), error.todo)];
    if (error instanceof WrongKeyType) return [fail(about, error.note, error.todo)];
    return [fail(about, (error as Error).message, 'correct spec.source, or the rights of this user')];
  }
}

const EMPTY_OR_WRONG =
  'check the names of spec.source, and the database in the address of Redis; an empty queue of this library leaves no key, so all is well if it is empty';
const MOST_NAMES = 5;

/** What is there instead, if anything. */
async function explainNotFound(redis: Redis, spec: SourceSpec, { kind }: SourceTrouble): Promise<string> {
  if (kind !== 'NotFound') return '';
  const named = await namesHere(redis, spec);
  return (named.length > 0 ? `; here are ${listNames(named)}` : '') + (await elsewhere(redis));
}

function isNothing({ waiting, inFlight, delayed, dead }: PoolSample): boolean {
  return waiting + inFlight + delayed + dead === 0;
}

/** For libraries whose empty queues leave no key: whether something suggests that this name is wrong. */
async function explainMissing(
  redis: Redis,
  spec: SourceSpec,
  names: readonly string[],
): Promise<string | undefined> {
  const { arq, saq, list, taskiq, custom } = spec;
  if (!arq && !saq && !list && !custom && (!taskiq || taskiq.group !== undefined)) return undefined;
  const found = await namesHere(redis, spec);
  const own = [...(arq?.queues ?? []), ...(saq?.queues ?? [])].map((name) => `"${name}"`);
  if (own.some((name) => found.includes(name))) return undefined;
  const others = found.length > 0 ? `; here are ${listNames(found)}` : await elsewhere(redis);
  return others === '' ? undefined : `there is nothing of ${names.join(', ')} here${others}`;
}

function listNames(names: readonly string[]): string {
  return [...names.slice(0, MOST_NAMES), ...(names.length > MOST_NAMES ? ['…'] : [])].join(', ');
}

/** Which databases have keys, where this one has none. */
async function elsewhere(redis: Redis): Promise<string> {
  const text = await redis.info('keyspace').catch(() => '');
  const used = Array.from(text.matchAll(/^db(\d+):keys=(\d+)/gm), ([, db, keys]) => ({ db, keys }));
  const here = String(redis.options.db ?? 0);
  if (used.length === 0 || used.some(({ db }) => db === here)) return '';
  const others = used.slice(0, 5).map(({ db, keys }) => `${db} (${plural(Number(keys), 'key')})`);
  return `; database ${here} is empty, and there are keys in database ${others.join(', ')}`;
}

function describe({ waiting, inFlight, delayed, due, dead, pausedQueues }: PoolSample): string {
  const paused = pausedQueues > 0 ? ', paused' : '';
  return `${waiting} waiting, ${inFlight} in hand, ${delayed} delayed (${due} due), ${dead} failed${paused}`;
}

async function checkHolding(redis: Redis, source: Source, sample: PoolSample): Promise<Finding[]> {
  if (source.holding.by !== 'worker') return [checkBound(source.holding)];
  const found = await source.holding.readWorkers(createAsk(redis), redis);
  const concerns = (found.concerns ?? []).map(({ note, todo }) => warn('workers', note, todo));
  return [checkWorkers(found, sample), ...concerns];
}

function checkBound(holding: Exclude<Holding, { by: 'worker' }>): Finding {
  const about = 'busy workers';
  if (holding.by === 'count')
    return ok(
      about,
      'the number of running tasks is known, but not who runs them: pods are removed when there are none',
    );
  return holding.longestMs === undefined
    ? warn(
        about,
        `${holding.why}: no pod is removed while a task may run`,
        'set longestTask of the source, or scaling.scaleDown.unmanaged: Always',
      )
    : ok(about, `${holding.why}: pods are removed when there was nothing to take for longestTask`);
}

function checkWorkers({ workers, unnamed }: SourceWorkers, sample: PoolSample): Finding {
  const about = 'busy workers';
  if (unnamed > 0)
    return warn(
      about,
      `${plural(unnamed, 'running task names', 'running tasks name')} no worker that is here: no pod goes while there are any`,
      'look again in some seconds, as some libraries say later who runs a task; if it stays, its worker was killed, or is not named after its pod (docs/sources.md)',
    );
  const work = sample.runnable.waiting + sample.runnable.due;
  const busy = workers.filter(({ tasks }) => tasks > 0).length;
  if (workers.length === 0 && work > 0)
    return warn(
      about,
      `no worker of the library is here, and ${plural(work, 'task waits', 'tasks wait')}`,
      'see why the pods do not start, and whether their workers listen to these queues',
    );
  return ok(about, `${plural(workers.length, 'worker')}, ${busy} of them busy`);
}
