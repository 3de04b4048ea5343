/** What is remembered of a pool from one reconcile to the next: hints and values; a restart loses all of it. */
import type { Linked } from '../connect/connect.ts';
import { noMemory, type Memory, type Policy } from '../decide/decision.ts';
import { noService, type ServiceMemory } from '../act/grace-period.ts';
import type { Applied } from '../act/deployment-target.ts';
import type { Observed } from '../observe/observation.ts';
import type { PoisonSeen } from '../report/poison.ts';
import { nothingWritten, type Applier, type Written as WrittenReplicas } from '../act/other-writers.ts';
import type { Written } from '../report/report.ts';
import type { Held } from '../act/scale-in.ts';
import { nothingKept, type Kept } from '../act/step.ts';

export interface Remembered {
  memory: Memory;
  /** What was read out of the spec of this generation. */
  policy: { readonly value: Policy; readonly of: string } | undefined;
  applied: Applied | undefined;
  linked: Linked | undefined;
  written: Written | undefined;
  poison: PoisonSeen | undefined;
  /** The last reconcile knew nothing of the queue. */
  blind: boolean;
  /** Pods that were taken away and may still be seen. */
  readonly taken: Set<string>;
  kept: Kept;
  /** Our writes of replicas. */
  replicas: WrittenReplicas;
  /** Who applies them as well. */
  applier: Applier | undefined;
  /** Pods that were seen last and count for nothing, by name. */
  strays: readonly string[];
  held: Held['reason'] | undefined;
  graceMissing: number | undefined;
  service: ServiceMemory;
  observed: Observed | undefined;
  /** When its removal was first tried, by performance.now(). */
  leavingSince: number | undefined;
  /** The last ring of the wake that was answered, by performance.now(). */
  wokenAt: number | undefined;
}

export function nothingRemembered(): Remembered {
  return {
    memory: noMemory,
    policy: undefined,
    applied: undefined,
    linked: undefined,
    written: undefined,
    poison: undefined,
    blind: true,
    taken: new Set(),
    kept: nothingKept,
    replicas: nothingWritten,
    applier: undefined,
    strays: [],
    held: undefined,
    graceMissing: undefined,
    service: noService,
    observed: undefined,
    leavingSince: undefined,
    wokenAt: undefined,
  };
}
