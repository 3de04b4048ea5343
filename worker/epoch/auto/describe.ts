/** Why there are so many slots, for people. Pure. */
import type { FinderState, Why } from './finder-state.ts';

/** `at 12 the tasks took 1.6 times as long`, to be put after `8 slots: `. */
export function describeSlots({ why, level, bounds, comparison }: FinderState): string {
  if (why.kind !== 'begins' || comparison) return describeWhy(why);
  return level === bounds.max ? 'the maximum' : 'not compared with another number yet';
}

export function describeWhy(why: Why): string {
  switch (why.kind) {
    case 'begins':
      return 'more are being tried';
    case 'unused':
      return 'there were not enough tasks at a time to try more';
    case 'slower':
      return `at ${why.at} the tasks took ${times(why.times)} times as long`;
    case 'failing':
      return `at ${why.at}, ${percent(why.failed)} % of the tasks failed`;
    case 'unclear':
      return `at ${why.at} it was not clearly better: tasks differ too much`;
    case 'max':
      return `the maximum; at ${why.from} the tasks took ${why.times < 1.05 ? 'as long' : `${times(1 / why.times)} times as long`}`;
    case 'memory':
      return `more might not fit: ${percent(why.used)} % of the memory limit is in use`;
    case 'died':
      return `at ${why.at} the worker was killed`;
    default:
      return why satisfies never;
  }
}

function times(value: number): string {
  return String(Number(value.toPrecision(2)));
}

function percent(share: number): number {
  return Math.round(100 * share);
}
