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
 * tasks that fail fast do not look quick.
 */
export function slowdown(base: Spell, other: Spell): Slowdown {
  const variance = [base, other].reduce((sum, spell) => sum + varianceOf(spell), MACHINE_NOISE ** 2);
  return {
    log: 2 * Math.log(meanRoot(other) / meanRoot(base)) + Math.log(success(base) / success(other)),
    error: Math.sqrt(variance),
  };
}

export function meanRoot({ roots, tasks }: Spell): number {
  // below the resolution of the clock, all are equal
  return Math.max(roots / Math.max(1, tasks), 0.01);
}

/** Share of the tasks that returned a result. */
export function success({ tasks, failed }: Spell): number {
  return (tasks + 0.5) / (tasks + failed + 0.5);
}

/** Of the logarithm of the time per success. */
function varianceOf(spell: Spell): number {
  const { tasks, failed, ms } = spell;
  const mean = meanRoot(spell);
  const spread = Math.max(0, ms / Math.max(1, tasks) - mean ** 2) / mean ** 2;
  // few tasks show less variation than there is
  const variation = Math.max(LEAST_VARIATION ** 2, spread) * (1 + 4 / Math.max(1, tasks));
  const share = success(spell);
  return (4 * variation) / Math.max(1, tasks) + (1 - share) / (share * (tasks + failed + 0.5));
}
