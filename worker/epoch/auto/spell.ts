/** Sums over the tasks that ran during a spell, a time in which the number of slots was the same, and how two of them compare. Pure. */

/** Of tasks that began and ended in the spell. */
export interface Spell {
  /** Those that returned a result, and those that failed. */
  readonly tasks: number;
  readonly failed: number;
  /** Sum of √ms over `tasks`, and of ms. */
  readonly roots: number;
  readonly ms: number;
}

export const emptySpell: Spell = { tasks: 0, failed: 0, roots: 0, ms: 0 };

export function addSpells(one: Spell, other: Spell): Spell {
  return {
    tasks: one.tasks + other.tasks,
    failed: one.failed + other.failed,
    roots: one.roots + other.roots,
    ms: one.ms + other.ms,
  };
}

/** How many times as long a task takes in one spell as in another: the natural logarithm of it, and its standard error. */
export interface Slowdown {
  readonly log: number;
  readonly error: number;
}

/** The least that a coefficient of variation of √ms is believed to be, and the noise of a machine that no number of tasks averages out. */
const LEAST_VARIATION = 0.05;
const MACHINE_NOISE = 0.03;

/**
 * The slowdown from `base` to `other`, each with a task at least. Means of √ms are compared, not of ms: a slowdown by a factor shows the same,
 * and of heavy-tailed times a hundredth of the tasks tells it, while long tasks still outweigh short ones. Time per success counts, so that
 * tasks that fail fast do not look quick. Where all tasks of one failed, there are no times, and only the failures are compared.
 */
export function slowdown(base: Spell, other: Spell): Slowdown {
  const timed = base.tasks > 0 && other.tasks > 0;
  const variance = [base, other].reduce(
    (sum, spell) => sum + (timed ? timeVarianceOf(spell) : 0) + successVarianceOf(spell),
    MACHINE_NOISE ** 2,
  );
  return {
    log: Math.log(slowdownOfTimes(base, other)) + Math.log(success(base) / success(other)),
    error: Math.sqrt(variance),
  };
}

/** How many times as long the tasks took that returned a result; 1 where one of the spells has none. */
export function slowdownOfTimes(base: Spell, other: Spell): number {
  return base.tasks > 0 && other.tasks > 0 ? (meanRoot(other) / meanRoot(base)) ** 2 : 1;
}

function meanRoot({ roots, tasks }: Spell): number {
  // below the resolution of the clock, all are equal
  return Math.max(roots / tasks, 0.01);
}

export function isEmpty({ tasks, failed }: Spell): boolean {
  return tasks + failed === 0;
}

/** Whether there are tasks, and all failed. */
export function allFailed({ tasks, failed }: Spell): boolean {
  return tasks === 0 && failed > 0;
}

/** Share of the tasks that returned a result. */
export function success({ tasks, failed }: Spell): number {
  return (tasks + 0.5) / (tasks + failed + 0.5);
}

/** Of the logarithm of the time of a task. */
function timeVarianceOf(spell: Spell): number {
  const { tasks, ms } = spell;
  const mean = meanRoot(spell);
  const spread = Math.max(0, ms / tasks - mean ** 2) / mean ** 2;
  // few tasks show less variation than there is
  const variation = Math.max(LEAST_VARIATION ** 2, spread) * (1 + 4 / tasks);
  return (4 * variation) / tasks;
}

/** Of the logarithm of the share of successes. */
function successVarianceOf(spell: Spell): number {
  const share = success(spell);
  return (1 - share) / (share * (spell.tasks + spell.failed + 0.5));
}
