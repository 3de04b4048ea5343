/**
 * Numbers that look random and come out the same for the same seed, so that a simulated run can be repeated. The
 * generator is Mulberry32 (Tommy Ettinger, public domain); the draws are the textbook ones (Devroye, "Non-Uniform
 * Random Variate Generation", 1986). Pure.
 */
export interface Random {
  /** From 0 up to but not including 1. */
  uniform(): number;
  /** Exponential with this mean. */
  exponential(mean: number): number;
  /** Log-normal with this mean and coefficient of variation (standard deviation / mean). */
  lognormal(mean: number, variation: number): number;
  /** Pareto with this mean; `shape` over 1, and the lower it is, the heavier the tail. */
  pareto(mean: number, shape: number): number;
}

/** A stream of draws of its own for each seed. */
export function createRandom(seed: number): Random {
  let state = Math.trunc(seed) >>> 0;
  function uniform(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  /** Never 0: its logarithm is taken. */
  const positive = (): number => 1 - uniform();
  const normal = (): number => Math.sqrt(-2 * Math.log(positive())) * Math.cos(2 * Math.PI * uniform());
  return {
    uniform,
    exponential: (mean) => -mean * Math.log(positive()),
    lognormal: (mean, variation) => {
      const variance = Math.log(1 + variation ** 2);
      return mean * Math.exp(Math.sqrt(variance) * normal() - variance / 2);
    },
    pareto: (mean, shape) => ((mean * (shape - 1)) / shape) * positive() ** (-1 / shape),
  };
}
