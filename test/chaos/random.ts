/**
 * Random numbers from a seed: the same seed and purpose give the same numbers on every machine. Each purpose (`tasks`,
 * `faults`) has a sequence of its own, so that a change in one does not shift the other.
 *
 * The generator is xorshift32 (Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8, 2003).
 */
import { createHash } from 'node:crypto';

export interface Random {
  /** From [0, 1). */
  real(): number;
  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
  shuffled<T>(items: readonly T[]): T[];
}

export function createRandom(seed: number, purpose: string): Random {
  let state = createHash('sha256').update(`${seed}/${purpose}`).digest().readUInt32LE() || 1;
  const real = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  const int = (min: number, max: number): number => min + Math.floor(real() * (max - min + 1));
  const pick = <T>(items: readonly T[]): T => {
    if (items.length === 0) throw new RangeError('nothing to pick from');
    return items[int(0, items.length - 1)] as T;
  };
  const shuffled = <T>(items: readonly T[]): T[] => {
    const left = [...items];
    return items.map(() => left.splice(int(0, left.length - 1), 1)[0] as T);
  };
  return { real, int, pick, shuffled, chance: (probability) => real() < probability };
}
