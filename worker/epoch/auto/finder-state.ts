/** What the finder sees, what it knows, and what it returns. */
import type { ConcurrencyBounds } from '../../../runtime/concurrency.ts';
import type { Spell } from './spell.ts';

/** What was seen since the last spell began. */
export interface Observation {
  /** Monotonic, ms. */
  readonly now: number;
  /** Whether all slots have been in use since then; until then the rest is empty. */
  readonly begun: boolean;
  /** More tasks run than there are slots now. */
  readonly overfull: boolean;
  /** How long the spell has lasted, and for how long its slots were in use, summed, ms. */
  readonly lastedMs: number;
  readonly busyMs: number;
  /** Of its sample, the first `sampleSize` tasks that began in it: those that have ended, and those that run, as if they ended now. */
  readonly spell: Spell;
  readonly running: Spell;
  /** Share of the memory limit that is in use, if there is a limit. */
  readonly memory?: number | undefined;
}

/** Why the number of slots is what it is. */
export type Why =
  /** It was not compared with another one yet. */
  | { readonly kind: 'begins' }
  /** There were never enough tasks for all slots to compare it with another one. */
  | { readonly kind: 'unused' }
  /** With `at` slots the tasks took `times` as long, or the share `failed` of them failed. */
  | { readonly kind: 'slower'; readonly at: number; readonly times: number }
  | { readonly kind: 'failing'; readonly at: number; readonly failed: number }
  /** Tasks of this kind differ so much that `at` slots were not seen to be better. */
  | { readonly kind: 'unclear'; readonly at: number }
  /** It is the maximum, and the tasks of `at` slots took `times` as long before. */
  | { readonly kind: 'max'; readonly from: number; readonly times: number }
  /** More slots would have needed memory that is not there. */
  | { readonly kind: 'memory'; readonly used: number }
  /** The worker died with `at` slots. */
  | { readonly kind: 'died'; readonly at: number };

export interface Comparison {
  readonly trial: number;
  readonly beganAt: number;
  /** Of `level`, and of `trial`. */
  readonly base: Spell;
  readonly tried: Spell;
  /** Completed spells, both kinds. */
  readonly spells: number;
  /** Of `trial`, spells that came to nothing because slots were free. */
  readonly voids: number;
}

export interface FinderState {
  readonly bounds: ConcurrencyBounds;
  /** The best number that is known. */
  readonly level: number;
  readonly why: Why;
  /** The factor of the next step, and the smallest one whose result is clear. */
  readonly factor: number;
  readonly finest: number;
  /** No number was too large yet: it goes up by what seems better, as a wrong step is undone later. */
  readonly climbing: boolean;
  /** Numbers that were found to be no better, since the last move or rest. */
  readonly up: number | undefined;
  readonly down: number | undefined;
  /** Not to be tried before `until`: the worker died there. */
  readonly deadly: { readonly at: number; readonly until: number } | undefined;
  readonly comparison: Comparison | undefined;
  /** A spell of `level`, the last one: where the next comparison begins. */
  readonly known: Spell | undefined;
  /** The same from when it last rested: what has changed since is a reason to look again. */
  readonly restedAt: Spell | undefined;
  readonly restMs: number;
  /** Nothing is tried before this. */
  readonly restsUntil: number;
  /** In which the last number was set, by `Observation.now`. */
  readonly setAt: number;
}

export interface Found {
  readonly state: FinderState;
  /** A new spell begins. */
  readonly fresh: boolean;
}
