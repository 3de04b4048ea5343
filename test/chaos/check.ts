/**
 * Judges a run by three witnesses that know nothing of each other: the ledger (what handlers did), the history (what
 * was changed in Redis, and by whom), and what Redis holds at the end. Pure.
 *
 * For every id: as many results and dead letters as tasks were pushed, each written by the worker that held the task at
 * that moment and made by a run of that worker; no run without a delivery; every repeat paid for by an epoch that was
 * ended from outside; no run cut short in a worker that was only asked to stop; nothing left over in internal keys.
 */
import { checkBatches, type BatchEvidence } from './batch-check.ts';
import { noFate, type Custody, type Fate } from './custody.ts';
import type { Run } from './ledger.ts';
import { ATTEMPTS, type Task } from './tasks.ts';
import type { Violation } from './violation.ts';

/** One process of a worker, from its start to its end. */
export interface Life {
  readonly worker: string;
  readonly pid: number;
  /** Why it ended: `killed` by a fault, asked to stop by the `scaling` or from `outside`, or by itself: `crashed`. */
  readonly end: 'killed' | 'scaling' | 'outside' | 'crashed';
  /** Wall clock, ms. */
  readonly from: number;
  readonly to: number;
  /** Of one that crashed: its exit code or signal, and the last lines that it wrote. */
  readonly account?: string;
}

export interface DoneFault {
  readonly kind: string;
  readonly what: string;
  /** Wall clock, ms. */
  readonly from: number;
  readonly to: number;
  /** Names of the workers that it hit; `all` when it hit what they share. */
  readonly workers: readonly string[] | 'all';
}

export interface Evidence {
  readonly tasks: readonly Task[];
  readonly custody: Custody;
  /** What servers acknowledged and their successors never had: lost pushes, deliveries that nobody knows of any more. */
  readonly forgotten?: Custody;
  readonly runs: readonly Run[];
  readonly lives: readonly Life[];
  readonly faults: readonly DoneFault[];
  /** The result hash. */
  readonly results: ReadonlyMap<string, string>;
  /** Dead letters: id and attempts. */
  readonly dead: readonly { readonly id: string; readonly attempts: number }[];
  readonly batches?: BatchEvidence;
  /** What a plain worker popped: ids, with repetition. It knows neither attempts nor failures. */
  readonly plain: readonly string[];
  /** What is left of Millrace's own keys and should not be, in words. */
  readonly leftovers: readonly string[];
  /** What clients did not get, in words. */
  readonly complaints: readonly string[];
}

/** Faults after which the server does not know what it knew. */
const FORGETFUL: ReadonlySet<string> = new Set(['forget', 'failover', 'split']);

export function check(evidence: Evidence): Violation[] {
  return [
    ...accounts(evidence),
    ...writers(evidence),
    ...repeatsPaid(evidence),
    ...cutShort(evidence),
    ...(evidence.batches ? checkBatches(evidence.batches, evidence) : []),
    ...evidence.leftovers.map((text) => ({ kind: 'left over', text })),
    ...evidence.complaints.map((text) => ({ kind: 'client', text })),
  ];
}

/** Each task pushed has exactly one end, and the right one. */
function accounts({ tasks, custody, forgotten, results, dead, plain }: Evidence): Violation[] {
  const found: Violation[] = [];
  const plainly = countBy(plain, (id) => id);
  const letters = Map.groupBy(dead, ({ id }) => id);
  for (const { id, copies, outcome, attempts } of tasks) {
    const say = (kind: string, text: string): void => void found.push({ kind, id, text });
    const fate = custody.fates.get(id) ?? noFate;
    const popped = plainly.get(id) ?? 0;
    const ended = fate.results + fate.dead + popped;
    const gone = forgotten?.fates.get(id)?.pushed ?? 0;
    if (fate.pushed + gone < copies)
      say('lost', `pushed ${copies} times, but Redis saw ${fate.pushed} and forgot ${gone}`);
    if (ended < fate.pushed) say('lost', `${fate.pushed} pushed, but only ${ended} ended: ${words(fate)}`);
    if (ended > fate.pushed) say('twice', `${fate.pushed} pushed, but ${ended} ended: ${words(fate)}`);
    const isDead = letters.get(id) ?? [];
    if (isDead.length !== fate.dead)
      say('dead letter', `${isDead.length} are in the list, but ${fate.dead} were written`);
    if (outcome === 'result' && isDead.length > 0)
      say('wrong end', `a dead letter, but it had to have a result`);
    if (outcome === 'dead' && fate.results > 0)
      say('wrong end', 'a result by a worker of ours, but it had to be dead');
    if (fate.results + popped > 0 && !results.has(id)) say('lost', 'its result was written and is not there');
    if (popped > 0 || attempts === undefined) continue;
    for (const letter of isDead)
      if (letter.attempts !== attempts)
        say('attempts', `dead after ${letter.attempts} attempts of ${attempts}`);
    if (outcome === 'result' && fate.pushed === 1 && fate.retried !== attempts - 1)
      say('attempts', `retried ${fate.retried} times, and it fails ${attempts - 1} of ${ATTEMPTS} attempts`);
  }
  return found;
}

/** Each result was written by the worker that held the task, and is what a run of that worker returned. */
function writers({ custody, runs, plain, results }: Evidence): Violation[] {
  const byName = new Map(runs.map((run) => [run.name, run]));
  const found: Violation[] = custody.unheld.map(({ id, worker }) => ({
    kind: 'fenced write',
    id,
    text: `${worker} wrote its result and did not hold it`,
  }));
  const used = new Set<string>();
  for (const { id, worker, value } of custody.writes) {
    const name = runOf(value);
    const run = byName.get(name);
    const wrong = !run
      ? `its result names the run "${name}", which no ledger has`
      : run.id !== id || run.worker !== worker
        ? `${worker} wrote the result of ${run.name}, a run of ${run.id}`
        : run.ended?.how !== 'ok'
          ? `${worker} wrote the result of ${run.name}, which did not end well`
          : used.has(name)
            ? `${worker} wrote the result of ${run.name} twice`
            : undefined;
    used.add(name);
    if (wrong) found.push({ kind: 'foreign result', id, text: wrong });
  }
  const popped = new Set(plain);
  const last = new Map(custody.writes.map(({ id, value }) => [id, value]));
  for (const [id, value] of results)
    if (!popped.has(id) && last.get(id) !== value)
      found.push({ kind: 'foreign result', id, text: 'it is not what was written last' });
  return found;
}

/**
 * No run without a delivery, and no repeat without an epoch that was ended from outside while it held the task, or a delivery
 * that a server forgot.
 */
function repeatsPaid({ custody, forgotten, runs }: Evidence): Violation[] {
  const found: Violation[] = [];
  for (const [delivery, begun] of countBy(runs, ({ worker, id }) => `${worker} ${id}`)) {
    const delivered = (custody.deliveries.get(delivery) ?? 0) + (forgotten?.deliveries.get(delivery) ?? 0);
    if (begun > delivered)
      found.push({
        kind: 'undelivered run',
        id: delivery.slice(delivery.indexOf(' ') + 1),
        text: `${delivery} began ${begun} times and was delivered ${delivered} times`,
      });
  }
  const fences = countBy(
    custody.fences.flatMap(({ ids }) => ids),
    (id) => id,
  );
  for (const [id, times] of repeats({ custody, runs })) {
    const fenced = fences.get(id) ?? 0;
    const unknown = forgotten?.fates.get(id)?.delivered ?? 0;
    if (times > fenced + unknown)
      found.push({
        kind: 'repeat',
        id,
        text: `repeated ${times} times, with ${fenced} fences and ${unknown} forgotten deliveries to explain it`,
      });
  }
  return found;
}

/** How often tasks were run again although no attempt of them had failed, by id. */
export function repeats({ custody, runs }: Pick<Evidence, 'custody' | 'runs'>): ReadonlyMap<string, number> {
  const again = new Map<string, number>();
  for (const [id, begun] of countBy(runs, (run) => run.id)) {
    const { results, dead, retried, cancelled } = custody.fates.get(id) ?? noFate;
    const paid = results + dead + retried + cancelled;
    if (begun > paid) again.set(id, begun - paid);
  }
  return again;
}

export function crashOf({ worker, account = 'no account of it' }: Life): string {
  return `${worker} ended by itself, and no fault of ours made it: ${account}`;
}

/**
 * Whoever is asked to stop finishes what it runs; only who lost its lease drops it, or who was forgotten with it, or what was cancelled. A run whose
 * delivery is forgotten may begin after the fault is over: the reply of the server that is gone was on its way.
 */
function cutShort({ runs, lives, custody, forgotten, faults }: Evidence): Violation[] {
  const found: Violation[] = [];
  const fenced = new Set(custody.fences.map(({ worker }) => worker));
  const byProcess = Map.groupBy(runs, ({ worker, pid }) => `${worker}@${pid}`);
  const lapses = faults.filter(({ kind }) => FORGETFUL.has(kind));
  const forgot = ({ worker, id, begun, ended }: Run): boolean =>
    forgotten?.deliveries.has(`${worker} ${id}`) === true ||
    lapses.some(({ from, to }) => begun <= to && (ended?.at ?? Infinity) >= from);
  const cancelled = ({ id }: Run): boolean => (custody.fates.get(id)?.cancelled ?? 0) > 0;
  for (const life of lives) {
    if (life.end === 'crashed') found.push({ kind: 'crash', text: crashOf(life) });
    if (life.end === 'killed') continue;
    for (const run of byProcess.get(`${life.worker}@${life.pid}`) ?? [])
      if (
        !run.ended ||
        (run.ended.how === 'aborted' && !fenced.has(life.worker) && !forgot(run) && !cancelled(run))
      )
        found.push({
          kind: 'killed busy',
          id: run.id,
          text: `${run.name} was under way when its worker was stopped by ${life.end}`,
        });
  }
  return found;
}

/** From the death of a process to the next run of each task that it was running, ms, ascending, by kind of the fault. */
export function recoveryTimes({
  runs,
  lives,
  faults,
}: Pick<Evidence, 'runs' | 'lives' | 'faults'>): ReadonlyMap<string, number[]> {
  const byProcess = Map.groupBy(runs, ({ worker, pid }) => `${worker}@${pid}`);
  const byId = Map.groupBy(runs, ({ id }) => id);
  const times = new Map<string, number[]>();
  for (const { end, worker, pid, to } of lives) {
    if (end !== 'killed') continue;
    const kill = faults.findLast(
      (fault) => /kill|force/.test(fault.kind) && fault.workers.includes(worker) && fault.from <= to + 1_000,
    );
    const kind = kill?.kind ?? 'killed at the end';
    for (const run of byProcess.get(`${worker}@${pid}`) ?? []) {
      if (run.ended) continue;
      const next = byId.get(run.id)?.find(({ begun }) => begun >= to);
      if (next) times.set(kind, [...(times.get(kind) ?? []), next.begun - to]);
    }
  }
  for (const list of times.values()) list.sort((a, b) => a - b);
  return times;
}

/** Epochs that were ended although no fault hit their worker around that time: a machine too slow for the lease. */
export function unprovoked({ custody, faults }: Pick<Evidence, 'custody' | 'faults'>): string[] {
  const hit = new Set(faults.flatMap(({ workers }) => (workers === 'all' ? [] : workers)));
  return custody.fences.map(({ worker }) => worker).filter((worker) => !hit.has(worker));
}

export function runOf(value: string): string {
  return /^\{"run":"([^"]*)"/.exec(value)?.[1] ?? value.slice(0, 100);
}

function words({ results, dead, retried, returned, delivered }: Fate): string {
  return `${delivered} deliveries, ${results} results, ${dead} dead, ${retried} retried, ${returned} returned`;
}

function countBy<T, K>(items: Iterable<T>, key: (item: T) => K): Map<K, number> {
  const counts = new Map<K, number>();
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
  return counts;
}
