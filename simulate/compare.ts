/**
 * One trace, several policies: each gets the same arrivals, the same service times and pods that start alike. The fixed
 * pool is the smallest that holds the target, known in hindsight; "future" is a schedule made with knowledge of the whole trace.
 */
import type { Advice } from '../controller/decide/target-wait/advice.ts';
import type { Policy } from '../controller/decide/decision.ts';
import { insightOf, type Insight } from '../controller/decide/target-wait/insight.ts';
import type { Autoscaler, Parking } from './autoscaler.ts';
import { clairvoyant } from './clairvoyant.ts';
import { figuresOf, type Figures } from './figures.ts';
import { hpa } from './hpa.ts';
import { keda, LIST_LENGTH } from './keda.ts';
import { knative } from './knative.ts';
import { millrace } from './millrace.ts';
import type { Peer } from './peers.ts';
import { createRandom } from './random.ts';
import { simulate, type Run, type Setting } from './simulate.ts';
import { fixed } from './static.ts';
import type { TaskTrace } from './trace.ts';

export interface Compared {
  readonly run: Run;
  readonly figures: Figures;
  readonly advice?: Advice | undefined;
  /** What Millrace had learned by the end. */
  readonly insight?: Insight | undefined;
}

/** Share of tasks that may be late where a target counts as held. */
export const ALLOWED_LATE = 0.005;

/**
 * Millrace first, with the pods that it parks, if any, and where it advises a floor, once more with that; then the peers, in the
 * order given.
 */
export function compare(
  trace: TaskTrace,
  policy: Policy,
  targetMs: number,
  against: readonly Peer[],
  setting: Setting,
  parking?: Parking,
): Compared[] {
  const judged = (run: Run): Compared => ({ run, figures: figuresOf(trace, run, targetMs) });
  const own = (using: Policy, name: string): Compared => {
    const autoscaler = millrace(using, undefined, setting.beginMs, parking);
    const run = simulate(trace, autoscaler, setting);
    const { learned } = autoscaler.memory;
    return { ...judged({ ...run, name }), advice: autoscaler.advice, insight: learned && insightOf(learned) };
  };
  const plain = own(policy, 'Millrace');
  const floor = plain.advice?.minReplicas;
  const advised =
    floor === undefined ? [] : [own({ ...policy, minReplicas: floor }, `Millrace, min ${floor}`)];
  const others = against
    .map((peer) => runOf(peer, trace, policy, targetMs, setting))
    .filter((run) => run !== undefined);
  return [plain, ...advised, ...others.map(judged)];
}

/** `undefined` where no schedule was found that holds the target. */
function runOf(
  peer: Peer,
  trace: TaskTrace,
  policy: Policy,
  targetMs: number,
  setting: Setting,
): Run | undefined {
  const { minReplicas, maxReplicas, slots = 1 } = policy;
  const phaseMs = createRandom(setting.seed ?? 1).uniform() * 30_000;
  const run = (autoscaler: Autoscaler): Run => simulate(trace, autoscaler, setting);
  if (peer === 'keda') return run(keda({ minReplicas, maxReplicas, phaseMs }));
  if (peer === 'hpa') return run(hpa({ target: LIST_LENGTH, minReplicas, maxReplicas, phaseMs }));
  if (peer === 'knative') return run(knative({ slots, minReplicas, maxReplicas }));
  if (peer === 'static') return run(fixed(smallest(trace, targetMs, maxReplicas, setting)));
  return clairvoyant(trace, { targetMs, maxReplicas, allowed: ALLOWED_LATE }, setting);
}

/** The smallest fixed pool that holds the target, or the largest that there may be. */
function smallest(trace: TaskTrace, targetMs: number, maxReplicas: number, setting: Setting): number {
  let [low, high] = [1, maxReplicas];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const run = simulate(trace, fixed(middle), setting);
    if (figuresOf(trace, run, targetMs).over <= ALLOWED_LATE) high = middle;
    else low = middle + 1;
  }
  return low;
}
