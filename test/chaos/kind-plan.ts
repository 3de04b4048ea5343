/** What a run in a cluster does, drawn from its seed as in `plan.ts`, with what happens to pods there. Pure. */
import { createDealer, drawRounds, type Round } from './plan.ts';
import { createRandom } from './random.ts';
import { drawTasks, hogTask, type Task } from './tasks.ts';

/** `who` is from [0, 1): a place in the list of the pods that are there when the fault strikes. */
export type KindFault =
  | {
      readonly kind: 'delete pod' | 'delete pod by force' | 'evict pod' | 'kill container';
      readonly who: number;
    }
  /** The pool's template changes: all pods are replaced. */
  | { readonly kind: 'rollout' }
  /** The pool may have one replica only, for `ms`. */
  | { readonly kind: 'scale in'; readonly ms: number }
  | { readonly kind: 'delete controller' };

export interface KindPlan {
  readonly seed: number;
  readonly tasks: readonly Task[];
  readonly rounds: readonly Round<KindFault>[];
}

/** One task in so many has its container killed for the memory that it takes. */
const HOG_ONE_IN = 400;
/** What happens to pods takes its time. */
const FAULTS = { count: 4, withinMs: 8_000 };

export function createKindPlan(seed: number, count: number): KindPlan {
  const tasks = drawTasks(seed, count).flatMap((task, i) =>
    i % HOG_ONE_IN === HOG_ONE_IN >> 1 ? [task, hogTask(i)] : [task],
  );
  const random = createRandom(seed, 'faults');
  const strike = (kind: 'delete pod' | 'delete pod by force' | 'evict pod' | 'kill container') => () => ({
    kind,
    who: random.real(),
  });
  const deck: (() => KindFault)[] = [
    ...(['delete pod', 'delete pod by force', 'evict pod', 'kill container'] as const).flatMap((kind) => [
      strike(kind),
      strike(kind),
    ]),
    () => ({ kind: 'rollout' }),
    () => ({ kind: 'rollout' }),
    () => ({ kind: 'scale in', ms: random.int(2_000, 6_000) }),
    () => ({ kind: 'delete controller' }),
  ];
  return { seed, tasks, rounds: drawRounds(seed, tasks, FAULTS, createDealer(random, deck)) };
}
