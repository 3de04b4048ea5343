/** What the finder sees: the tasks of a spell, from their start to their end, and how full the slots are. Times are arguments, ms. Pure. */
import type { Observation } from './finder-state.ts';

/** How a task ended: `ignored` says nothing of the slots, such as a cancelled one. */
export type Ending = 'done' | 'failed' | 'ignored';

/** A task that runs. */
export interface Running {
  readonly startedAt: number;
  /** The spell of whose sample it is; 0 for none. */
  readonly spell: number;
}

export interface Meter {
  begin(now: number): Running;
  end(task: Running, now: number, ending: Ending): void;
  /** Tasks of this spell's sample that have ended. */
  readonly ended: number;
  /** Tasks that run, of any spell. */
  readonly running: number;
  readonly observation: (now: number) => Omit<Observation, 'memory'>;
  /** Begins a new spell with so many slots, as soon as all of them are in use; its sample is the first `size` tasks that begin in it. */
  reset(slots: number, size: number, now: number): void;
}

/** The first spell begins with the first `reset`. */
export function createMeter(): Meter {
  const running = new Set<Running>();
  const sample = new Set<Running>();
  let [slots, size, spell] = [0, 0, 0];
  let beganAt: number | undefined;
  let [busyMs, changedAt] = [0, 0];
  let [begun, tasks, failed, roots, ms] = [0, 0, 0, 0, 0];

  function change(now: number): void {
    if (beganAt !== undefined) busyMs += running.size * Math.max(0, now - changedAt);
    changedAt = now;
  }

  function beginIfFull(now: number): void {
    if (beganAt !== undefined || running.size !== slots || slots === 0) return;
    [beganAt, changedAt] = [now, now];
  }

  function count(task: Running, now: number, ending: Ending): void {
    if (ending === 'ignored') begun--;
    else if (ending === 'failed') failed++;
    else {
      const tookMs = Math.max(0, now - task.startedAt);
      tasks++;
      ms += tookMs;
      roots += Math.sqrt(tookMs);
    }
  }

  return {
    begin: (now) => {
      change(now);
      const task = { startedAt: now, spell: 0 };
      running.add(task);
      beginIfFull(now);
      if (beganAt === undefined || begun >= size) return task;
      begun++;
      task.spell = spell;
      sample.add(task);
      return task;
    },
    end: (task, now, ending) => {
      change(now);
      running.delete(task);
      sample.delete(task);
      if (task.spell === spell) count(task, now, ending);
      beginIfFull(now);
    },
    get ended() {
      return tasks + failed;
    },
    get running() {
      return running.size;
    },
    observation: (now) => {
      change(now);
      const ages = Array.from(sample, ({ startedAt }) => Math.max(0, now - startedAt));
      return {
        now,
        begun: beganAt !== undefined,
        overfull: running.size > slots,
        lastedMs: beganAt === undefined ? 0 : now - beganAt,
        busyMs,
        spell: { tasks, failed, roots, ms },
        running: {
          tasks: ages.length,
          failed: 0,
          roots: ages.reduce((sum, age) => sum + Math.sqrt(age), 0),
          ms: ages.reduce((sum, age) => sum + age, 0),
        },
      };
    },
    reset: (nextSlots, nextSize, now) => {
      [slots, size] = [nextSlots, nextSize];
      spell++;
      sample.clear();
      beganAt = undefined;
      [busyMs, begun, tasks, failed, roots, ms] = [0, 0, 0, 0, 0, 0];
      beginIfFull(now);
    },
  };
}
