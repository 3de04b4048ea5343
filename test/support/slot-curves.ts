/** A worker's slots in simulated time: tasks share a machine, by a curve of how fast each runs beside others, and the finder sets their number. */
import type { Random } from '../../simulate/random.ts';
import { find, slotsOf, startFinder, enoughTasks, sampleSize } from '../../worker/epoch/auto/finder.ts';
import type { FinderState } from '../../worker/epoch/auto/finder-state.ts';
import type { ConcurrencyBounds } from '../../runtime/concurrency.ts';
import { createMeter, type Running } from '../../worker/epoch/auto/meter.ts';

export interface Curve {
  /** How fast a task runs beside `busy` tasks, itself included, at `now`; 1 is alone. */
  readonly speed: (busy: number, now: number) => number;
  /** How long the next task would take alone, ms. */
  readonly work: (random: Random, now: number) => number;
  /** Probability that a task fails that began beside `busy` tasks; then it takes a tenth of the time. */
  readonly fails?: (busy: number, now: number) => number;
  /** Whether there are tasks to begin at `now`; always by default. */
  readonly hasWork?: (now: number) => boolean;
  readonly memory?: (busy: number) => number;
}

export interface SlotRun {
  readonly state: FinderState;
  /** Slots in force over time: each change. */
  readonly changes: readonly { readonly at: number; readonly slots: number; readonly level: number }[];
  readonly finished: number;
  /** For how long each number was the level, in the last half, ms. */
  readonly lateLevels: ReadonlyMap<number, number>;
  readonly most: number;
}

interface Task {
  left: number;
  readonly running: Running;
  readonly fails: boolean;
}

const TICK_MS = 250;

/** Runs for `ms` of simulated time. */
export function runSlots(
  curve: Curve,
  bounds: ConcurrencyBounds,
  ms: number,
  random: Random,
  start = bounds.min,
): SlotRun {
  let now = 0;
  let state = startFinder(bounds, start, now);
  const meter = createMeter();
  meter.reset(slotsOf(state), sampleSize(state), now);
  const tasks = new Set<Task>();
  const changes: { at: number; slots: number; level: number }[] = [
    { at: 0, slots: slotsOf(state), level: state.level },
  ];
  const lateLevels = new Map<number, number>();
  let finished = 0;
  let most = 0;
  let tick = TICK_MS;
  const { hasWork = () => true } = curve;

  const fill = (): void => {
    while (tasks.size < slotsOf(state) && hasWork(now)) {
      const fails = random.uniform() < (curve.fails?.(tasks.size + 1, now) ?? 0);
      tasks.add({ left: curve.work(random, now) * (fails ? 0.1 : 1), running: meter.begin(now), fails });
    }
    most = Math.max(most, tasks.size);
  };
  const look = (): void => {
    const memory = curve.memory?.(tasks.size);
    const found = find(state, { ...meter.observation(now), memory });
    const before = slotsOf(state);
    state = found.state;
    const slots = slotsOf(state);
    if (found.fresh) meter.reset(slots, sampleSize(state), now);
    if (slots !== before) changes.push({ at: now, slots, level: state.level });
  };

  fill();
  while (now < ms) {
    const speed = tasks.size > 0 ? curve.speed(tasks.size, now) : 0;
    let next: Task | undefined;
    for (const task of tasks) if (!next || task.left < next.left) next = task;
    const endsIn = next && speed > 0 ? next.left / speed : Infinity;
    const passed = Math.min(endsIn, tick - now);
    for (const task of tasks) task.left -= passed * speed;
    if (now > ms / 2) lateLevels.set(state.level, (lateLevels.get(state.level) ?? 0) + passed);
    now += passed;
    if (next && endsIn <= passed) {
      tasks.delete(next);
      meter.end(next.running, now, next.fails ? 'failed' : 'done');
      if (!next.fails) finished++;
      if (meter.ended >= enoughTasks(state)) look();
    }
    if (now >= tick) {
      tick += TICK_MS;
      look();
    }
    fill();
  }
  return { state, changes, finished, lateLevels, most };
}
