/**
 * Validates a memory (memory.ts): it is read from a key that anyone with access to the queue can write, and decisions are based
 * on it. Unless each field is present, of its type and within bounds, the whole memory is rejected. Pure.
 */
import type { Memory } from '../decide/decision.ts';

type Form = (value: unknown) => boolean;

/** Limit of counts and times; JSON parses 1e999 as Infinity, and writes that as null. */
const MOST = 1e15;
/** Limit of sums of times over all slots and years, and of their squares. */
const MOST_SUMMED = 1e30;
/** Limit of lists: a week in quarters of an hour, and some. */
const LONGEST = 1_024;

const amount: Form = (value) => typeof value === 'number' && value >= 0 && value <= MOST;
/** May be negative: before the start of a clock. */
const moment: Form = (value) => typeof value === 'number' && Math.abs(value) <= MOST;
const sum: Form = (value) => typeof value === 'number' && value >= 0 && value <= MOST_SUMMED;
const count: Form = (value) => typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
const replicas: Form = (value) => Number.isInteger(value) && amount(value) && (value as number) <= 2 ** 31;

const maybe =
  (form: Form): Form =>
  (value) =>
    value === undefined || value === null || form(value);

const list =
  (form: Form): Form =>
  (value) =>
    Array.isArray(value) && value.length <= LONGEST && value.every(form);

const fields =
  (forms: Readonly<Record<string, Form>>): Form =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(forms).every(([name, form]) => form((value as Record<string, unknown>)[name]));

const needs = list(fields({ at: moment, replicas }));
const starts = {
  start: maybe(fields({ mean: amount, deviation: amount, pods: amount })),
  starts: list(fields({ at: moment, replicas: amount })),
  ready: amount,
};
const replay = fields({ up: replicas, starts: starts.starts, served: count, needs, cost: amount });
const pattern = fields({ needs: list(maybe(amount)), saved: amount, idled: amount });

const learned = fields({
  ...starts,
  at: moment,
  counters: fields({
    taken: count,
    completed: count,
    failed: count,
    retried: count,
    serviceUs: sum,
    squaresS2: maybe(sum),
    squaredTasks: maybe(count),
  }),
  lists: maybe((value) => typeof value === 'string' && value.length <= 64),
  inFlight: amount,
  curve: list(fields({ at: moment, arrived: count, taken: count, done: count, runMs: sum })),
  service: maybe(
    fields({
      mean: amount,
      // ms²
      variance: (value) => typeof value === 'number' && value >= 0 && value <= MOST * MOST,
      tasks: amount,
      finished: amount,
      stretches: amount,
      fastMean: amount,
    }),
  ),
  idle: fields({ needs, gaps: list(list(amount)) }),
  replays: maybe(fields({ long: replay, short: replay, shorter: (value) => typeof value === 'boolean' })),
  held: amount,
  forecast: maybe(
    fields({
      day: pattern,
      week: pattern,
      bin: fields({ from: moment, replicaMs: amount, seenMs: maybe(amount) }),
    }),
  ),
  waits: list(amount),
  over: (value) => amount(value) && (value as number) <= 1,
  floors: list(amount),
  mean: amount,
  unfetchedSince: maybe(moment),
});

const memory = fields({
  since: maybe(moment),
  inherited: maybe(amount),
  knownAt: maybe(moment),
  needs,
  learned,
  starting: maybe(fields(starts)),
  changes: maybe(list(fields({ at: moment, from: amount }))),
});

/** A memory of the target rule, as `packMemory` writes it. */
export function isMemory(value: unknown): value is Memory & { readonly learned: object } {
  return memory(value);
}
