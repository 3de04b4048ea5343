/**
 * Judges a run in which replicas take over from their primaries. Servers that take over from each other have no common history, so the
 * witnesses are the clients, the ledger of the handlers, and what is left in Redis.
 *
 * Clients push each task until a replica has confirmed it, so each has an end: a result or a dead letter, whichever it had to be. Each
 * result is what a run of that task returned. A task that was pushed again, or whose end no replica had, may run more than once: that is
 * counted. Pure.
 */
import { checkBatches, idsOf, type BatchEvidence } from './batch-check.ts';
import type { DoneFault, Life } from './check.ts';
import { crashOf, runOf } from './check.ts';
import type { Run } from './ledger.ts';
import type { Task } from './tasks.ts';
import type { Violation } from './violation.ts';

export interface TakeoverEvidence {
  readonly tasks: readonly Task[];
  readonly runs: readonly Run[];
  readonly lives: readonly Life[];
  readonly faults: readonly DoneFault[];
  readonly batches: BatchEvidence;
  /** The result hash. */
  readonly results: ReadonlyMap<string, string>;
  /** Ids of the dead letters, with repetition. */
  readonly dead: readonly string[];
  /** What is left of Millrace's own keys and should not be, in words. */
  readonly leftovers: readonly string[];
  /** What clients did not get, in words. */
  readonly complaints: readonly string[];
}

export function checkTakeovers(evidence: TakeoverEvidence): Violation[] {
  return [
    ...evidence.complaints.map((text) => ({ kind: 'client', text })),
    ...ends(evidence),
    ...wrongResults(evidence),
    ...cutShort(evidence),
    ...checkBatches(evidence.batches, evidence),
    ...evidence.leftovers.map((text) => ({ kind: 'left over', text })),
  ];
}

function ends({ tasks, results, dead }: TakeoverEvidence): Violation[] {
  const letters = new Set(dead);
  const found: Violation[] = [];
  for (const { id, outcome } of tasks) {
    const [isDone, isDead] = [results.has(id), letters.has(id)];
    if (!isDone && !isDead)
      found.push({ kind: 'lost', id, text: 'it has neither a result nor a dead letter' });
    else if (outcome === 'result' && !isDone)
      found.push({ kind: 'wrong end', id, text: 'a dead letter, but it had to have a result' });
    else if (outcome === 'dead' && isDone)
      found.push({ kind: 'wrong end', id, text: 'a result, but it had to be dead' });
  }
  return found;
}

function wrongResults({ tasks, batches, runs, results }: TakeoverEvidence): Violation[] {
  const byName = new Map(runs.map((run) => [run.name, run]));
  const ids = new Set([...tasks.map(({ id }) => id), ...idsOf(batches, runs)]);
  const found: Violation[] = [];
  for (const [id, value] of results) {
    const name = runOf(value);
    const run = byName.get(name);
    const wrong = !ids.has(id)
      ? 'a result of a task that nobody pushed'
      : !run
        ? `its result names the run "${name}", which no ledger has`
        : run.id !== id
          ? `its result is that of ${run.name}, a run of ${run.id}`
          : run.ended?.how !== 'ok'
            ? `its result is that of ${run.name}, which did not end well`
            : undefined;
    if (wrong !== undefined) found.push({ kind: 'wrong result', id, text: wrong });
  }
  return found;
}

/** Whoever is asked to stop finishes what it runs, or gives it up because its lease was lost, which its ledger has. */
function cutShort({ runs, lives }: TakeoverEvidence): Violation[] {
  const found: Violation[] = [];
  const byProcess = Map.groupBy(runs, ({ worker, pid }) => `${worker}@${pid}`);
  for (const life of lives) {
    const { worker, pid, end } = life;
    if (end === 'crashed') found.push({ kind: 'crash', text: crashOf(life) });
    if (end !== 'scaling' && end !== 'outside') continue;
    for (const { id, name, ended } of byProcess.get(`${worker}@${pid}`) ?? [])
      if (!ended)
        found.push({
          kind: 'killed busy',
          id,
          text: `${name} was under way when its worker was stopped by ${end}`,
        });
  }
  return found;
}

/** How often tasks were run beyond the attempts that they take, by id. */
export function takeoverRepeats({
  tasks,
  runs,
}: Pick<TakeoverEvidence, 'tasks' | 'runs'>): Map<string, number> {
  const begun = new Map<string, number>();
  for (const { id } of runs) begun.set(id, (begun.get(id) ?? 0) + 1);
  const again = new Map<string, number>();
  for (const { id, copies, attempts = 1 } of tasks) {
    const more = (begun.get(id) ?? 0) - copies * attempts;
    if (more > 0) again.set(id, more);
  }
  return again;
}
