/** The inputs of a decision besides the sample: the policy from the pool's spec, and the memory of earlier decisions. */
import { keyOf } from '../../kube/watch.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { Clock } from '../../runtime/clock.ts';
import { noMemory, type Memory, type Policy } from '../decide/decision.ts';
import { annotatedPauseOf } from '../decide/pause.ts';
import { policyOf, withFoundSlots } from '../decide/policy.ts';
import { rebased } from '../decide/target-wait/learned.ts';
import { foundSlotsOf, initialFoundSlots, type FoundSlotsState } from './found-slots.ts';
import type { MemoryStore } from '../records/memory-store.ts';
import { hasNothing, type Sampled } from '../sample/sampled.ts';
import { listsOf, type QueueLink } from '../sample/sampler.ts';

/** The state of a pool's decisions, from one reconcile to the next. */
export interface DecideState {
  memory: Memory;
  /** The policy in the spec of this uid and generation. */
  policy: { readonly value: Policy; readonly of: string } | undefined;
  readonly slots: FoundSlotsState;
}

export function initialDecideState(): DecideState {
  return { memory: noMemory, policy: undefined, slots: initialFoundSlots() };
}

/** Parsing schedules takes longer than the rest of a decision, so the policy is cached until the spec changes. */
export function policyFor(pool: WorkerPool, state: DecideState): Policy {
  const { uid, generation } = pool.metadata;
  // joined: see `keyOf`
  const of = [uid, generation].join('/');
  if (state.policy?.of !== of) state.policy = { value: policyOf(pool.spec), of };
  const found = foundSlotsOf(pool, state.slots);
  const value = found ? withFoundSlots(state.policy.value, found) : state.policy.value;
  const pause = annotatedPauseOf(pool);
  return pause ? { ...value, paused: true, pause } : value;
}

export interface MemoryInput {
  readonly pool: WorkerPool;
  readonly policy: Policy;
  readonly sampled: Sampled;
  readonly link: QueueLink | undefined;
  readonly memories: MemoryStore;
  readonly clock: Clock;
}

/** Only the target rule learns something worth storing; a memory that a pause discarded is read again after it. Never rejects. */
export async function memoryFor(input: MemoryInput, { memory }: DecideState): Promise<Memory> {
  const { pool, policy, sampled, link, memories, clock } = input;
  if (!link || sampled.kind === 'unknown' || policy.targetWaitMs === undefined || policy.paused)
    return memory;
  const found = await memories.recall(keyOf(pool), link, memory, clock.elapsed(), clock.now());
  const { learned } = found;
  return learned ? { ...found, learned: rebased(learned, sampled.sample.counters, listsOf(link)) } : found;
}

/** `seen`: a decision processes no task, and nothing that was learned before this process began. For `Journal.during`. */
export function inputOf(sampled: Sampled, memory: Memory, before: DecideState): 'seen' | undefined {
  const isRecalled = memory.learned !== undefined && before.memory.learned === undefined;
  return hasNothing(sampled) && !isRecalled ? 'seen' : undefined;
}
