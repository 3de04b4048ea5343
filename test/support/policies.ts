/** The two rules of scaling, each alone, with the bounds that most tests use. A test overrides what it is about. */
import type { Policy } from '../../controller/decide/decision.ts';

const bare = { minReplicas: 0, fallback: undefined, paused: false };

/** `scaling.targetWait: 10s`, up to 50 replicas. */
export const targetRule: Policy = {
  ...bare,
  maxReplicas: 50,
  tasksPerReplica: undefined,
  targetWaitMs: 10_000,
  windowMs: undefined,
};

/** `scaling.tasksPerReplica: 5` with a window of 60 s, up to 10 replicas. */
export const plainRule: Policy = { ...bare, maxReplicas: 10, tasksPerReplica: 5, windowMs: 60_000 };
