/** What a run says in the end: figures, and for each violation what is known of its task. Pure. */
import { batchFigures } from './batch-check.ts';
import { recoveryTimes, repeats, unprovoked, type DoneFault } from './check.ts';
import { noFate } from './custody.ts';
import type { Plan } from './plan.ts';
import type { Outcome } from './run.ts';
import type { Violation } from './violation.ts';

export interface Figures {
  readonly seed: number;
  readonly tasks: number;
  readonly tookS: number;
  readonly tasksPerS: number;
  readonly processes: number;
  readonly scaledUp: number;
  readonly scaledDown: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly results: number;
  readonly dead: number;
  readonly retried: number;
  readonly takenByPlainWorkers: number;
  /** Tasks that clients pushed again because they got no answer. */
  readonly pushedAgain: number;
  /** Pushes that a server acknowledged and its successor never had. */
  readonly pushesForgotten: number;
  readonly fences: number;
  /** Of these, epochs of workers that no fault of the run had hit. */
  readonly fencesUnprovoked: number;
  readonly repeats: number;
  readonly repeatsMost: number;
  /** From the death of a process to the next run of a task that it was running, ms; by kind of the fault. */
  readonly recoveryMs: Readonly<Record<string, { count: number; p50: number; p99: number }>>;
  readonly batches: Readonly<Record<string, number>>;
  readonly violations: number;
}

export function figuresOf(
  plan: Pick<Plan, 'seed' | 'tasks'>,
  { evidence, tookMs, scaled, violations }: Outcome,
): Figures {
  const { custody, faults, plain, lives } = evidence;
  const fates = plan.tasks.map(({ id }) => custody.fates.get(id) ?? noFate);
  const pushesForgotten = plan.tasks.reduce(
    (total, { id }) => total + (evidence.forgotten?.fates.get(id)?.pushed ?? 0),
    0,
  );
  const ids = new Set(plan.tasks.map(({ id }) => id));
  const sum = (of: (fate: (typeof fates)[number]) => number): number =>
    fates.reduce((total, fate) => total + of(fate), 0);
  const again = [...repeats(evidence).values()];
  const recovery = [...recoveryTimes(evidence)].map(([kind, times]) => {
    const at = (share: number): number => percentile(times, share);
    return [kind, { count: times.length, p50: at(0.5), p99: at(0.99) }] as const;
  });
  const planned = plan.tasks.reduce((total, { copies }) => total + copies, 0);
  return {
    seed: plan.seed,
    tasks: planned,
    tookS: Math.round(tookMs / 100) / 10,
    tasksPerS: Math.round(planned / (tookMs / 1_000)),
    processes: lives.length,
    scaledUp: scaled.up,
    scaledDown: scaled.down,
    faults: countKinds(faults),
    results: sum((fate) => fate.results),
    dead: sum((fate) => fate.dead),
    retried: sum((fate) => fate.retried),
    takenByPlainWorkers: plain.filter((id) => ids.has(id)).length,
    pushedAgain: sum((fate) => fate.pushed) + pushesForgotten - planned,
    pushesForgotten,
    fences: custody.fences.length,
    fencesUnprovoked: unprovoked(evidence).length,
    repeats: again.reduce((total, times) => total + times, 0),
    repeatsMost: Math.max(0, ...again),
    recoveryMs: Object.fromEntries(recovery),
    batches: evidence.batches ? batchFigures(evidence.batches) : {},
    violations: violations.length,
  };
}

/** Figures as lines for a person. */
export function figuresText(
  figures: Pick<Figures, 'faults' | 'batches'> & Partial<Pick<Figures, 'recoveryMs'>>,
): string {
  const { faults, batches, recoveryMs = {}, ...rest } = figures;
  const kinds = Object.entries(faults).map(([kind, count]) => `${count} ${kind}`);
  return [
    ...Object.entries(rest).map(([name, value]) => `${name.padEnd(20)} ${String(value)}`),
    ...Object.entries(recoveryMs).map(
      ([kind, { count, p50, p99 }]) =>
        `recovery             after ${kind}: p50 ${p50} ms, p99 ${p99} ms of ${count} runs`,
    ),
    `batches              ${Object.entries(batches)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')}`,
    `faults               ${kinds.join(', ')}`,
    '',
  ].join('\n');
}

const SHOWN = 10;

/** What an account is made of; a history is not known of each run. */
export interface Told extends Pick<Outcome, 'violations' | 'log'> {
  readonly evidence: Pick<Outcome['evidence'], 'runs' | 'faults' | 'tasks'> &
    Partial<Pick<Outcome['evidence'], 'custody'>>;
}

/** What went wrong: the ledger of each task, and the faults of that time. Empty when nothing did. */
export function account({ violations, evidence, log }: Told): string {
  if (violations.length === 0) return '';
  const kinds = Map.groupBy(violations, ({ kind }) => kind);
  const counts = Array.from(kinds, ([kind, { length }]) => `${length} ${kind}`);
  const lines = [`${violations.length} violations: ${counts.join(', ')}`];
  for (const violation of violations.slice(0, SHOWN)) lines.push('', ...story(violation, evidence));
  if (violations.length > SHOWN) lines.push('', `and ${violations.length - SHOWN} more`);
  const last = log.filter((line) => !/"a task failed"/.test(line)).slice(-40);
  return [...lines, '', 'the last lines of the workers:', ...last, ''].join('\n');
}

function story({ kind, id, text }: Violation, { runs, faults, custody, tasks }: Told['evidence']): string[] {
  const lines = [`${kind}: ${id === undefined ? '' : `${id}: `}${text}`];
  if (id === undefined) return lines;
  const task = tasks.find((planned) => planned.id === id);
  if (task) lines.push(`  task ${task.raw.slice(0, 120)} × ${task.copies}`);
  if (custody) lines.push(`  fate ${JSON.stringify(custody.fates.get(id))}`);
  for (const run of runs.filter((one) => one.id === id)) {
    const end = run.ended ? `${run.ended.how} after ${run.ended.at - run.begun} ms` : 'never ended';
    lines.push(`  ${clock(run.begun)} run ${run.name}, attempt ${run.attempt}: ${end}`);
    const near = faults.filter(
      ({ from, to, workers }) =>
        from <= run.begun + 5_000 &&
        to >= run.begun - 5_000 &&
        (workers === 'all' || workers.includes(run.worker)),
    );
    for (const fault of near) lines.push(`    ${clock(fault.from)}–${clock(fault.to)} ${fault.what}`);
  }
  return lines;
}

const clock = (ms: number): string => new Date(ms).toISOString().slice(11, 23);

export function countKinds(faults: readonly DoneFault[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of faults.toSorted((a, b) => a.kind.localeCompare(b.kind)))
    counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

function percentile(ascending: readonly number[], share: number): number {
  return Math.round(ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? 0);
}
