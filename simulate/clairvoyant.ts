/**
 * Replicas with knowledge of the future: every arrival and every service time. Not a policy, but a benchmark for policies. It
 * is a schedule that was found, so the best one there is costs this much or less.
 *
 * The work done over time must stay between the work that has come and the work that must have been begun for every task to
 * start in time. The straightest way between the two (the taut string, as Davies and Kovac, 2001, compute it) rises and falls
 * least: the fewest starts without idling. It is rounded to whole replicas; a replica that idles for less time than its start
 * is worth is kept; and each is started as early as its start takes. Several such plans, with more and less caution, are then
 * simulated, and the cheapest with which no more than the allowed share is late is taken.
 */
import { START_COST_MS } from '../controller/decide/target-wait/start-time.ts';
import type { Autoscaler } from './autoscaler.ts';
import { figuresOf } from './figures.ts';
import { simulate, type Run, type Setting } from './simulate.ts';
import type { TaskTrace } from './trace.ts';

const STEP_MS = 1_000;

export interface ScheduleGoal {
  readonly targetMs: number;
  readonly maxReplicas: number;
  /** Share of tasks that may be late. */
  readonly allowed: number;
}

/** The cheapest run found; `undefined` if none holds the target. */
export function clairvoyant(trace: TaskTrace, goal: ScheduleGoal, setting: Setting): Run | undefined {
  let best: { run: Run; cost: number } | undefined;
  for (const share of [0.4, 0.55, 0.7, 0.8, 0.85, 0.9, 0.95, 1]) {
    const rates = tautString(corridor(trace, goal.targetMs * share, setting.startMs));
    for (const rounding of [0, 0.25, 0.5, 0.75])
      for (const keep of [0.5, 1, 2]) {
        const plan = rates.map((rate) => Math.ceil(rate / setting.slots - rounding));
        const needed = plan.map((replicas) => Math.min(Math.max(replicas, 0), goal.maxReplicas));
        const held = filled(needed, (keep * (START_COST_MS + setting.startMs)) / STEP_MS);
        const run = simulate(trace, following(held, setting.startMs), setting);
        const { cost, over } = figuresOf(trace, run, goal.targetMs);
        if (over <= goal.allowed && (!best || cost < best.cost)) best = { run, cost };
      }
  }
  return best?.run;
}

interface Corridor {
  /** Work that must be done, and that can be done, by the end of each step; slot-ms for each ms of a step. */
  readonly low: Float64Array;
  readonly high: Float64Array;
}

function corridor({ arrivals, services }: TaskTrace, waitMs: number, startMs: number): Corridor {
  const end = (arrivals.at(-1) ?? 0) + waitMs;
  const steps = Math.ceil((end + startMs) / STEP_MS) + 2;
  const [low, high] = [new Float64Array(steps), new Float64Array(steps)];
  let before = 0;
  for (const [i, arrival] of arrivals.entries()) {
    const begun = Math.floor((arrival + waitMs) / STEP_MS);
    low[begun] = Math.max(low[begun] as number, before / STEP_MS);
    before += services[i] as number;
    // no pod is ready before the first start: time zero of the plan is the first task's
    const come = Math.ceil(Math.max(arrival, startMs) / STEP_MS);
    high[come] = Math.max(high[come] as number, before / STEP_MS);
  }
  for (let i = 1; i < steps; i++) {
    low[i] = Math.max(low[i] as number, low[i - 1] as number);
    high[i] = Math.max(high[i] as number, high[i - 1] as number);
    low[i] = Math.min(low[i] as number, high[i] as number);
  }
  low[steps - 1] = high[steps - 1] as number;
  return { low, high };
}

/** The slope, at each step, of the shortest path from 0 through the corridor. */
function tautString({ low, high }: Corridor): number[] {
  const rates: number[] = [];
  const last = low.length - 1;
  let [from, height] = [0, 0];
  while (from < last) {
    let [steepest, flattest] = [-Infinity, Infinity];
    let [bottom, top] = [from + 1, from + 1];
    let bend: number | undefined;
    for (let i = from + 1; i <= last && bend === undefined; i++) {
      const least = ((low[i] as number) - height) / (i - from);
      const most = ((high[i] as number) - height) / (i - from);
      if (least > flattest) bend = top;
      else if (most < steepest) bend = bottom;
      else {
        if (least >= steepest) [steepest, bottom] = [least, i];
        if (most <= flattest) [flattest, top] = [most, i];
      }
    }
    const at = bend ?? last;
    const reached = (bend === top && bend !== bottom ? high[at] : low[at]) as number;
    const rate = Math.max(0, (reached - height) / (at - from));
    for (let i = from; i < at; i++) rates.push(rate);
    [from, height] = [at, height + rate * (at - from)];
  }
  return rates;
}

/** Keeps each replica through gaps of at most `gap` steps. */
function filled(plan: readonly number[], gap: number): number[] {
  const held = [...plan];
  const lastNeeded: number[] = [];
  for (const [step, replicas] of plan.entries())
    for (let replica = 1; replica <= replicas; replica++) {
      const since = lastNeeded[replica];
      if (since !== undefined && step - since > 1 && step - since <= gap)
        for (let i = since + 1; i < step; i++) held[i] = Math.max(held[i] as number, replica);
      lastNeeded[replica] = step;
    }
  return held;
}

/** Follows a plan; replicas are requested ahead of time, by the duration of a start. */
function following(plan: readonly number[], startMs: number): Autoscaler {
  const ahead = Math.ceil(startMs / STEP_MS);
  return {
    name: 'knowing the future',
    victims: 'idle',
    initial: 0,
    look: (now, { waiting, inFlight }) => {
      const step = Math.floor(now / STEP_MS);
      const planned = Math.max(0, ...plan.slice(step, step + ahead + 1));
      // what was left over at the end of the plan
      const replicas = step >= plan.length && waiting + inFlight > 0 ? Math.max(planned, 1) : planned;
      return { replicas, next: (step + 1) * STEP_MS, wakesOnPush: false };
    },
  };
}
