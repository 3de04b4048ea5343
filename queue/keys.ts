/**
 * The names of all Redis keys that Millrace uses, in one place.
 *
 * Two keys are the user's (the queue and the result hash) and are never renamed or wrapped. All others start with
 * `millrace:{tag}`, where `tag` puts them into the queue's own cluster slot, so that one script may access them together.
 */
import calculateSlot from 'cluster-key-slot';

export interface QueueKeys {
  /** LIST: clients `LPUSH`, workers take from the right end. */
  readonly queue: string;
  /** HASH: task id → result. */
  readonly result: string;
  /** ZSET: worker id → lease deadline, ms of Redis time. */
  readonly workers: string;
  /** HASH: queue time, by which leases are measured, when it was last advanced, and how long workers rest. See turn.lua, rest.lua. */
  readonly clock: string;
  /** HASH: worker id → tasks in flight there. */
  readonly load: string;
  /** ZSET: id of a worker ordered to drain, registered or not yet → end of the request, ms of Redis time. */
  readonly leaving: string;
  /** ZSET: id of a worker that a person asked to drain → end of the request, ms of Redis time. */
  readonly asked: string;
  /** ZSET: retries and scheduled tasks by due time, ms of Redis time. See `delayedMember` in task.ts. */
  readonly delayed: string;
  /** LIST: tasks that failed for good, newest first. See `parseDead` in dead-letter-format.ts. */
  readonly dead: string;
  /** HASH: task id → why it failed for good, or that it was cancelled, for clients that wait for it. */
  readonly errors: string;
  /** HASH: all-time counters, slow tasks by duration, and the sum of squared service times (`squaresS2` of `squaredTasks`). */
  readonly stats: string;
  /** HASH: past of tasks that went back to the list: digest → pasts (`parsePast`), comma-separated. */
  readonly history: string;
  /** HASH: the same for equal tasks too many for one field there, as stacks of runs. See `remember` in rare.lua. */
  readonly pasts: string;
  /** LIST: suspects set aside for a worker that holds nothing: past, `|`, raw task; the oldest on the right. */
  readonly suspects: string;
  /** STRING: the worker that takes nothing until it is empty, so that waiting suspects can run. */
  readonly isolator: string;
  /** ZSET: worker → when it expects to hold nothing, ms of Redis time; while suspects wait. */
  readonly emptying: string;
  /** HASH: a field for each worker that holds suspects, next to which nothing else may run. */
  readonly apart: string;
  /** STRING: exists while the queue is paused, with the reason. See pause.ts. */
  readonly paused: string;
  /**
   * HASH: priority that has a list of its own → `open`, or `closed` where only what waits there is served; and with `:workers` behind it,
   * that workers serve it, with `:pool:` and a uid, that a pool does. See served-levels.ts.
   */
  readonly priorities: string;
  /** ZSET: ids of cancelled tasks that no worker has met yet, by expiry time. See cancel.lua. */
  readonly cancelled: string;
  /** ZSET: results, errors and dead letters that expire, by due time, ms of Redis time. See sweep.lua. */
  readonly expiry: string;
  /** ZSET: id of a batch → when its record is deleted, ms of Redis time; `inf` while it is open. See batch/batches.lua. */
  readonly batches: string;
  /** ZSET: the same for batches of a queue in partitions that have parts in this one, and are counted as a whole in another. */
  readonly shares: string;
  /** HASH: batch, or share of one, of which another partition is to be told → number of the report, which is never the same again. See workers/batch-reports.ts. */
  readonly batchReports: string;
  /** HASH: the move of this queue to another place, while there is one: who makes it, and the batch in hand. See move/hold.lua. */
  readonly move: string;
  /** LIST: the batch in hand of that move, which is neither in its old place nor known to be in its new one. See move/out.lua. */
  readonly moving: string;
  /** HASH: moves of other queues to this one: id of the move → number of its last batch here; and its newest task. See move/in.lua. */
  readonly arrivals: string;
  /** STRING: the task that has a unique key, as JSON; for a day, a week or as long as it asks for. See unique.lua. */
  unique(key: string): string;
  /** HASH: size, counts and state of a batch, and the task that follows it; for a week after it has ended. */
  batch(id: string): string;
  /** SET: parts of a batch that the library added and that have not ended, but for those of the next key. */
  batchLeft(id: string): string;
  /** HASH: the same of parts called BATCH:NUMBER: a block of 1,000 numbers → a character for each, 1 until the part has ended. */
  batchNumbered(id: string): string;
  /** SET: parts of a batch that have ended, where their tasks name its size. */
  batchEnded(id: string): string;
  /** SET: parts of a batch that failed. */
  batchFailed(id: string): string;
  /** LIST: ids of the parts of a batch: in order, where the library added them, otherwise as they ended. */
  batchIds(id: string): string;
  /** SET: open batches whose `then` task is a part of this one. */
  batchInner(id: string): string;
  /** SET: parts of an open batch that tasks added with `spawn`; where they gave them ids, all parts. */
  batchKnown(id: string): string;
  /** SET: queues of the partitions that have parts of a batch, other than the one that has the whole, until all of these have ended. */
  batchShares(id: string): string;
  /** LIST: ids of the parts of a share that tasks added with `spawn`, until the whole has them. */
  batchSpawned(id: string): string;
  /** HASH: cron task → its state, as JSON; for 400 days. See crons.ts. */
  readonly crons: string;
  /** HASH: limits of how many tasks begin in a time and run at once, and who has set them. See limits/definition.ts. */
  readonly limits: string;
  /** HASH: limit time, the bucket of the queue's rate, and how many tasks are held; while there are limits. See limits/slots.lua. */
  readonly limitState: string;
  /** HASH: receipt, `|`, worker → key: tasks in flight that count for a limit of their key. */
  readonly limitSlots: string;
  /** HASH: key → number of its tasks in flight. */
  readonly limitRunning: string;
  /** ZSET: key → number of its tasks that are held until it may go on. */
  readonly held: string;
  /** ZSET: key → when its first held task may be tried, ms of limit time. */
  readonly heldDue: string;
  /** LIST: held tasks of a key: past, `|`, raw task; the oldest on the right. */
  heldTasks(key: string): string;
  /** STRING: the bucket of a key's rate, until it is full again. */
  limitRate(key: string): string;
  /** HASH: epoch, state and description of one worker. */
  worker(id: string): string;
  /** HASH: receipt → raw task. */
  inflight(id: string): string;
  /** HASH: receipt → past (`parsePast`), for the in-flight tasks that have one. */
  carried(id: string): string;
  /** HASH: numbers of a client's pushes, so that a resent push is not applied twice; for an hour. See push.lua. */
  pushes(client: string): string;
  /** HASH: answers to a client's requests that it may not have yet, by their numbers; for an hour. See once.lua. */
  answers(client: string): string;
  /** HASH: task id → its handler's last report, as JSON. */
  progress(id: string): string;
  /** LIST: at most one task, between an idle worker's blocking move and the script behind it, or its next turn. */
  wake(id: string): string;
  /**
   * HASH: the number of slots that was best for workers of a pool which find it themselves, and what each tries; for 7 days. See
   * workers/learned-slots.ts.
   */
  readonly slots: string;
  /** STRING: why a worker last died, human-readable; for a day. See workers/exit-reason.ts. */
  fate(id: string): string;
  /** STRING: what a pool, `namespace/name`, has learned, as JSON; for 90 days. See controller/records/memory.ts. */
  memory(pool: string): string;
  /** STREAM: history of a pool, `namespace/name`, of the last week, an entry per 10 s at most. See pool/timeline.ts. */
  timeline(pool: string): string;
  /** LIST: the last 100 decisions of a pool, `namespace/name`, newest first; for 30 days. See controller/records/decisions.ts. */
  decisions(pool: string): string;
}

/** The keys of one queue. Throws `RangeError` when a name is empty or the two are the same. */
export function queueKeys(queue: string, result: string): QueueKeys {
  if (queue === '' || result === '')
    throw new RangeError('queue and result must have names: an empty key was given');
  if (queue === result)
    throw new RangeError(`queue and result are both "${queue}": a list and a hash need keys of their own`);
  const base = keyBase(queue);
  return {
    queue,
    result,
    workers: `${base}:workers`,
    clock: `${base}:clock`,
    load: `${base}:load`,
    leaving: `${base}:leaving`,
    asked: `${base}:asked`,
    delayed: `${base}:delayed`,
    dead: `${base}:dead`,
    errors: `${base}:errors`,
    stats: `${base}:stats`,
    history: `${base}:history`,
    pasts: `${base}:pasts`,
    paused: `${base}:paused`,
    suspects: `${base}:suspects`,
    isolator: `${base}:isolator`,
    emptying: `${base}:emptying`,
    apart: `${base}:apart`,
    slots: `${base}:slots`,
    priorities: `${base}:priorities`,
    cancelled: `${base}:cancelled`,
    expiry: `${base}:expiry`,
    batches: `${base}:batches`,
    shares: `${base}:shares`,
    batchReports: `${base}:batch-reports`,
    move: `${base}:move`,
    moving: `${base}:moving`,
    arrivals: `${base}:arrivals`,
    unique: (key) => `${base}:unique:${key}`,
    batch: (id) => `${base}:batch:${id}`,
    batchLeft: (id) => `${base}:batch-left:${id}`,
    batchNumbered: (id) => `${base}:batch-numbered:${id}`,
    batchEnded: (id) => `${base}:batch-ended:${id}`,
    batchFailed: (id) => `${base}:batch-failed:${id}`,
    batchIds: (id) => `${base}:batch-ids:${id}`,
    batchInner: (id) => `${base}:batch-inner:${id}`,
    batchKnown: (id) => `${base}:batch-known:${id}`,
    batchShares: (id) => `${base}:batch-shares:${id}`,
    batchSpawned: (id) => `${base}:batch-spawned:${id}`,
    crons: `${base}:crons`,
    limits: `${base}:limits`,
    limitState: `${base}:limit-state`,
    limitSlots: `${base}:limit-slots`,
    limitRunning: `${base}:limit-running`,
    held: `${base}:held`,
    heldDue: `${base}:held-due`,
    heldTasks: (key) => `${base}:held-tasks:${key}`,
    limitRate: (key) => `${base}:limit-rate:${key}`,
    worker: (id) => `${base}:worker:${id}`,
    inflight: (id) => `${base}:inflight:${id}`,
    carried: (id) => `${base}:carried:${id}`,
    pushes: (client) => `${base}:pushes:${client}`,
    answers: (client) => `${base}:answers:${client}`,
    progress: (id) => `${base}:progress:${id}`,
    wake: (id) => `${base}:wake:${id}`,
    fate: (id) => `${base}:fate:${id}`,
    memory: (pool) => `${base}:memory:${pool}`,
    timeline: (pool) => `${base}:timeline:${pool}`,
    decisions: (pool) => `${base}:decisions:${pool}`,
  };
}

/** The same keys, with a key in the queue's own slot, which nothing is written to, in place of a result hash in another slot. */
export function resultApart(keys: QueueKeys): QueueKeys {
  return { ...keys, result: `${keyBase(keys.queue)}:result` };
}

/** ZSET, in the slot of a result hash that is apart from its queue: results that expire, by due time. See store.lua. */
export function resultExpiryKey(result: string): string {
  return `${keyBase(result)}:expiry`;
}

/**
 * `millrace:{queue}` for a plain name. A name with a hash tag of its own shares that tag and stands behind it in
 * brackets; a name in which no tag can stand (`a}b`) gets the smallest number that hashes to its slot.
 */
function keyBase(queue: string): string {
  const tag = hashTag(queue);
  if (tag !== undefined) return `millrace:{${tag}}[${queue}]`;
  if (!queue.includes('}')) return `millrace:{${queue}}`;
  const slot = calculateSlot(queue);
  let n = 0;
  while (calculateSlot(String(n)) !== slot) n++;
  return `millrace:{${n}}[${queue}]`;
}

/** The part between the first `{` and the next `}`, as Redis Cluster reads it: none when that is empty. */
export function hashTag(key: string): string | undefined {
  const open = key.indexOf('{');
  if (open < 0) return undefined;
  const close = key.indexOf('}', open + 1);
  return close > open + 1 ? key.slice(open + 1, close) : undefined;
}

/** The pattern of SCAN for all keys whose names begin with `prefix`, whatever characters it has. */
export function patternOf(prefix: string): string {
  return `${prefix.replaceAll(/[[\]*?\\^]/g, String.raw`\$&`)}*`;
}
