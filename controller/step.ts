/**
 * One step of a pool: what there is and what the queue says go in, replicas come out. The controller's reconcile and
 * `millrace dev` both run it; only the Target differs.
 */
import { decide, type Decision, type Memory, type Policy } from './decide.ts';
import type { Sampled } from './sampler.ts';
import type { Replicas, Target } from './target.ts';

export interface Step {
  readonly replicas: Replicas;
  readonly decision: Decision;
  /** What was changed; `undefined` when nothing was. */
  readonly scaled: { readonly from: number; readonly to: number } | undefined;
}

export interface StepInput {
  readonly policy: Policy;
  readonly sampled: Sampled;
  readonly target: Target;
  readonly memory: Memory;
  readonly now: number;
  /** Decide and report, but touch nothing. */
  readonly dryRun: boolean;
  /** Tasks that each worker holds; asked for only when replicas go down. */
  readonly holding: () => Promise<ReadonlyMap<string, number>>;
}

/** Observes, decides and acts. Rejects when the target could not be observed or scaled; the memory is then unchanged. */
export async function step(input: StepInput): Promise<Step> {
  const { policy, sampled, target, memory, now } = input;
  const replicas = await target.observe();
  const sample =
    sampled.kind === 'known'
      ? { kind: 'known' as const, ...sampled.sample }
      : { kind: 'unknown' as const, why: sampled.why };
  const decision = decide(policy, sample, replicas.wanted, memory, now, replicas.ready);
  if (decision.desired === replicas.wanted || input.dryRun) return { replicas, decision, scaled: undefined };
  const holding = decision.desired < replicas.wanted ? await input.holding() : new Map<string, number>();
  await target.scale(decision.desired, holding);
  return { replicas, decision, scaled: { from: replicas.wanted, to: decision.desired } };
}

/** Something moves, or may: the queue is worth a look every second. */
export function isActive({ replicas, decision }: Step, sampled: Sampled): boolean {
  if (sampled.kind !== 'known') return true;
  const { waiting, inFlight, due } = sampled.sample;
  const settled = decision.cause === 'Enough' && replicas.wanted === replicas.existing;
  return waiting + inFlight + due > 0 || !settled;
}
