/** The sources of the rows of `millrace top`: a cluster's pools, as they change, or the queues of a bare Redis, every second. */
import type { Redis } from 'ioredis';
import { createKubeApi } from '../../kube/client.ts';
import { POOLS } from '../../kube/resources.ts';
import { keyOf, reflect } from '../../kube/watch.ts';
import { queuesOf, type WorkerPool } from '../../kube/workerpool.ts';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { replyCode } from '../../queue/connection/reply-code.ts';
import { locationOf, type RedisOf } from '../../queue/location.ts';
import { combineSamples } from '../../queue/pool/pool-sample.ts';
import { findQueues } from '../../queue/pool/list-queues.ts';
import { openDeadLetters } from '../../queue/dead-letters.ts';
import { readPause, type QueuePause } from '../../queue/pause.ts';
import { sampleQueue, WrongKeyType, type QueueSample } from '../../queue/pool/sample.ts';
import { UnexpectedReply } from '../../queue/scripts/decode-reply.ts';
import { listSourceWorkers } from '../../queue/sources/list-workers.ts';
import { shortId } from '../../queue/task.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { conditionOf } from '../commands/pool-rows.ts';
import type { TopDetail, TopLetter, TopRow } from './model.ts';
import type { TopPlace } from './place.ts';
import { readBatches, readCrons } from './read-batches.ts';
import { readLimits } from './read-limits.ts';
import { readWorkers } from '../commands/workers.ts';

export interface TopSource extends AsyncDisposable {
  readonly title: string;
  /** The current rows; rejects with a human-readable reason. */
  rows(): Promise<TopRow[]>;
  /** Opens the details of a row; resources are opened on `stack`. */
  open(key: string, stack: AsyncDisposableStack): Promise<TopPlace>;
}

const LETTERS = 200;

export async function readDetail(place: TopPlace): Promise<TopDetail> {
  const { redis, redisOf, queues, source } = place;
  if (source)
    return {
      workers: [],
      letters: [],
      batches: [],
      batchCount: 0,
      crons: [],
      limits: [],
      source: await listSourceWorkers(redis, source),
    };
  const [{ batches, batchCount }, crons, limits] = await Promise.all([
    readBatches(place),
    readCrons(place),
    readLimits(place),
  ]);
  const workers = await readWorkers(redisOf, queues, false);
  const letters = await Promise.all(
    queues.map(async (keys) =>
      (await readDeadLetters(redisOf(keys), keys, LETTERS)).map(
        ({ id, raw, at, attempts, error }): TopLetter => ({
          id: shortId(id ?? raw, 200),
          queue: keys.queue,
          at,
          attempts,
          error: error.replaceAll(/\s+/g, ' '),
        }),
      ),
    ),
  );
  return {
    workers,
    letters: letters.flat().toSorted((a, b) => b.at - a.at),
    batches,
    batchCount,
    crons,
    limits,
    source: undefined,
  };
}

/** Returns the number of moved letters. */
export async function moveLetters(
  { redisOf, queues }: TopPlace,
  how: 'requeue' | 'drop',
  letters: readonly TopLetter[] | 'all',
): Promise<number> {
  let moved = 0;
  for (const keys of queues) {
    const ids =
      letters === 'all' ? [] : letters.filter(({ queue }) => queue === keys.queue).map(({ id }) => id);
    if (letters === 'all') moved += await openDeadLetters(redisOf(keys), keys)[how]('all');
    else if (ids.length > 0) moved += await openDeadLetters(redisOf(keys), keys)[how]({ ids });
  }
  return moved;
}

/** Resolves once all pools were read; rejects with KubeError. */
export async function clusterSource(
  cluster: Cluster,
  namespace: string | undefined,
  open: (pool: WorkerPool, stack: AsyncDisposableStack) => Promise<Omit<TopPlace, 'pool' | 'paces'>>,
): Promise<TopSource> {
  const over = new AbortController();
  let trouble: Error | undefined;
  const reflector = reflect({
    api: createKubeApi(cluster.transport),
    resource: POOLS,
    namespaces: [namespace],
    signal: over.signal,
    onChange: () => (trouble = undefined),
    onError: (error) => (trouble = error as Error),
  });
  await reflector.synced;
  const title = namespace === undefined ? 'all namespaces' : `namespace ${namespace}`;
  return {
    title,
    rows: () => {
      if (trouble) return Promise.reject(trouble);
      return Promise.resolve(
        [...reflector.store.values()].map((pool) => rowOf(pool, namespace === undefined)),
      );
    },
    open: async (key, stack) => {
      const pool = reflector.store.get(key);
      if (!pool) throw new Error(`pool ${key} is gone`);
      const place = await open(pool, stack);
      return { ...place, pool: () => reflector.store.get(key), paces: new Map() };
    },
    async [Symbol.asyncDispose]() {
      over.abort();
      await reflector.stopped;
    },
  };
}

function rowOf(pool: WorkerPool, namespaces: boolean): TopRow {
  const { metadata, spec, status = {} } = pool;
  const ready = conditionOf(pool, 'Ready');
  const missed = conditionOf(pool, 'TargetMissed')?.status === 'True';
  return {
    key: keyOf(pool),
    name: namespaces ? keyOf(pool) : metadata.name,
    queue: status.queue ?? queuesOf(spec).join(','),
    waiting: status.waiting,
    inFlight: status.inFlight,
    delayed: status.delayed,
    dead: status.dead,
    replicas: status.replicas,
    desired: status.desiredReplicas,
    rate: status.arrivalRate === undefined ? undefined : Number.parseFloat(status.arrivalRate),
    service: status.serviceTime?.p50,
    wait: undefined,
    state: missed ? 'TargetMissed' : (ready?.reason ?? 'NotSeen'),
    bad: ready?.status === 'False' || missed,
    decision: status.lastDecision ?? ready?.message ?? '',
  };
}

export interface RedisSourceOptions {
  readonly redis: Redis;
  readonly redisOf: RedisOf;
  /** The servers on which queues are looked for. */
  readonly primaries: () => Promise<readonly Redis[]>;
  readonly title: string;
  /** The queues to show; by default all that Millrace uses there, listed anew each time. */
  readonly names: readonly string[];
  /** A queue in partitions to show instead. */
  readonly asked: { readonly name: string; readonly queues: readonly QueueKeys[] } | undefined;
  /** The result hash. */
  readonly result: string;
  /** Of the server, or the cluster, that has them. */
  readonly address: RedisAddress;
}

export function redisSource(options: RedisSourceOptions): TopSource {
  const { redis, redisOf, primaries, title, names, asked, result, address } = options;
  const before = new Map<string, QueueSample>();
  const keysOf = (name: string): QueueKeys =>
    locationOf(address, queueKeys(name, result === name ? `${result}:result` : result)).keys;
  /** By the name that they are shown under: the partitions of one queue are one row. */
  let shown = new Map(asked && [[asked.name, asked.queues]]);
  const read = async (name: string, queues: readonly QueueKeys[]): Promise<TopRow> => {
    const sample = await sampleOf(redisOf, queues);
    const [first] = queues;
    const pause = sample.paused && first ? await readPause(redisOf(first), first) : undefined;
    const row = queueRow(name, sample, before.get(name), pause);
    before.set(name, sample);
    return row;
  };
  return {
    title,
    async rows() {
      if (!asked) {
        const all = names.length > 0 ? names : await findAll(primaries);
        const named = Map.groupBy(all, (name) => /^(.+):\{\d+\}$/s.exec(name)?.[1] ?? name);
        shown = new Map(Array.from(named, ([name, lists]) => [name, lists.map(keysOf)]));
      }
      return await Promise.all(
        Array.from(shown, ([name, queues]) =>
          read(name, queues).catch((error: unknown) => {
            // one that cannot be read hides no others
            if (shown.size === 1 || !isOfQueue(error)) throw error;
            return unreadableRow(name, error);
          }),
        ),
      );
    },
    open: (key) =>
      Promise.resolve({ redis, redisOf, queues: shown.get(key) ?? [keysOf(key)], paces: new Map() }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function findAll(primaries: () => Promise<readonly Redis[]>): Promise<string[]> {
  const found = await Promise.all((await primaries()).map(findQueues));
  return [...new Set(found.flat())].toSorted();
}

/** Workers are registered in each list, and may be busy in several. */
async function sampleOf(redisOf: RedisOf, queues: readonly QueueKeys[]): Promise<QueueSample> {
  const samples = await Promise.all(queues.map((keys) => sampleQueue(redisOf(keys), keys)));
  const { limits: _, ...sample } = combineSamples(samples);
  return { ...sample, busy: Math.max(...samples.map(({ busy }) => busy)) };
}

/** Whether the error is about what is in the keys of a queue, and not about the server. */
function isOfQueue(error: unknown): error is Error {
  return (
    error instanceof WrongKeyType || error instanceof UnexpectedReply || replyCode(error) === 'WRONGTYPE'
  );
}

/** The row of a queue whose keys hold what something else wrote. */
function unreadableRow(name: string, error: Error): TopRow {
  return {
    key: name,
    name,
    queue: name,
    waiting: undefined,
    inFlight: undefined,
    delayed: undefined,
    dead: undefined,
    replicas: undefined,
    desired: undefined,
    rate: undefined,
    service: undefined,
    wait: undefined,
    state: 'Unreadable',
    bad: true,
    decision: error.message,
  };
}

/** Rates are computed from the difference to the previous read. */
export function queueRow(
  name: string,
  sample: QueueSample,
  previous: QueueSample | undefined,
  pause: QueuePause | undefined,
): TopRow {
  const { waiting, inFlight, delayed, dead, workers, busy, expired, paused, counters } = sample;
  const seconds = previous ? (sample.now - previous.now) / 1_000 : 0;
  const ended = (of: QueueSample): number => of.counters.completed + of.counters.failed;
  const rate = previous && seconds > 0 ? Math.max(0, ended(sample) - ended(previous)) / seconds : undefined;
  // the sum includes all attempts, failed ones too
  const attempts = counters.completed + counters.failed + counters.retried;
  const mean = attempts > 0 ? counters.serviceUs / attempts / 1_000 : undefined;
  const pace = mean === undefined ? '' : `, a task takes ${mean.toFixed(0)} ms on average`;
  const busyness = `${busy} of ${workers} workers busy${pace}`;
  const stuck = waiting > 0 && workers === 0 && !paused;
  return {
    key: name,
    name,
    queue: name,
    waiting,
    inFlight,
    delayed,
    dead,
    replicas: workers,
    desired: undefined,
    rate,
    service: mean === undefined ? undefined : `${mean.toFixed(0)}ms`,
    wait: rate !== undefined && rate > 0 && waiting > 0 ? `~${Math.ceil(waiting / rate)}s` : undefined,
    state: paused ? 'Paused' : stuck ? 'NoWorkers' : busy > 0 ? 'Busy' : 'Idle',
    bad: stuck || expired > 0,
    decision: pause ? `paused: ${pause.reason || 'no reason was given'}` : busyness,
  };
}
