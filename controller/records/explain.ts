/**
 * A human-readable explanation of a decision: the sample, learned values, the result of each rule and which one won, the effect
 * of the bounds and the window, and what would change it. It uses the numbers that were stored with the decision. Pure.
 */
import type { DecisionRecord } from './decisions.ts';
import type { Numbers } from '../decide/decision.ts';
import { describeSaving, seconds, TOO_FEW_FINISHED } from '../decide/reason.ts';

/** A heading, and the lines below it. */
export type Explanation = readonly [heading: string, lines: readonly string[]];

export function explain({ cause, desired, numbers }: DecisionRecord): Explanation[] {
  const sections: Explanation[] = [
    ['Seen', seenLines(numbers)],
    ['Learned', learnedLines(numbers)],
    ['Rules', numbers.need === undefined ? [] : ruleLines(numbers)],
    ['Slots', slotLines(numbers)],
    ['Bounds', boundLines(numbers)],
    ['Window', windowLines(cause, numbers)],
    ['Parked', parkedLines(numbers)],
    ['Steps', stepLines(desired, numbers)],
    ['Advice', numbers.advice === undefined ? [] : [numbers.advice]],
    ['To change it', changeLines(cause, desired, numbers)],
  ];
  return sections.filter(([, lines]) => lines.length > 0);
}

function seenLines({ seen, current, ready }: Numbers): string[] {
  const replicas = `${count(current, 'replica')}, ${ready} of them ready`;
  if (!seen) return ['the queue could not be read', replicas];
  const { waiting, inFlight, due, dueSoon } = seen;
  const delayed =
    due + dueSoon > 0 ? `, ${due} delayed ones due now and ${dueSoon} while a replica starts` : '';
  return [`${count(waiting, 'task')} waiting, ${inFlight} in flight${delayed}`, replicas];
}

function learnedLines({ learned, target }: Numbers): string[] {
  if (!learned || !target) return [];
  const { service, start, waits, arrivalRate, tasks, starts, over } = learned;
  const task = service
    ? `a task takes ${seconds(service.mean)} (p50 ${seconds(service.p50)}, p95 ${seconds(service.p95)}; ${tasks} have finished)`
    : 'how long a task takes is not known: none has finished yet';
  const replica = start
    ? `a replica takes ${seconds(start.p50)} to start (p95 ${seconds(start.p95)}; the last ${count(starts, 'start')})`
    : `how long a replica takes to start is not known: ${seconds(target.startMs)} is assumed`;
  const waited = `recent tasks waited ${seconds(waits.p50)} (p50), ${seconds(waits.p95)} (p95); ${percent(over)} of them for longer than the target`;
  return [task, replica, `tasks arrive at ${arrivalRate} a second`, waited];
}

function ruleLines({ target, plain = 0, tasksPerReplica, asked = 0 }: Numbers): string[] {
  const lines: string[] = [];
  if (target) {
    const { needed, keep, floor, waitMs, slots, longerCosts } = target;
    const at = slots === 1 ? '' : `, ${slots} tasks at a time in each`;
    lines.push(
      needed === undefined
        ? `target wait ${seconds(waitMs)}: unknown until tasks have finished`
        : `target wait ${seconds(waitMs)}: ${needed} needed${at}${won(needed, asked)}; ${keep} worth keeping${describeSaving({ longerCosts })}`,
    );
    if (floor > 0) lines.push(`forecast: ${floor} expected at this hour${won(floor, asked)}`);
  }
  if (tasksPerReplica !== undefined)
    lines.push(
      `plain, ${tasksPerReplica === 1 ? '1 task' : `${tasksPerReplica} tasks`} a replica: ${plain}${won(plain, asked)}`,
    );
  return lines;
}

function slotLines({ slots }: Numbers): string[] {
  if (!slots) return [];
  const { each, why } = slots;
  return [`${count(each, 'slot')} in each replica${why && `: ${why}`}`];
}

function won(number: number, asked: number): string {
  return number === asked && number > 0 ? ' ← the largest' : '';
}

function boundLines({ bounds, asked = 0, need }: Numbers): string[] {
  const { minReplicas, maxReplicas, minBy, maxBy } = bounds;
  const by = (name: string | undefined): string => (name === undefined ? '' : ` by schedule "${name}"`);
  const line = `minReplicas ${minReplicas}${by(minBy)}, maxReplicas ${maxReplicas}${by(maxBy)}`;
  if (need === undefined) return [line];
  if (need < asked) return [`${line}: the most allowed, ${asked} were asked for`];
  return [need > asked ? `${line}: the fewest allowed, ${asked} would do` : `${line}: neither decides`];
}

function windowLines(cause: string, { windowMs = 0, kept, need, unsure, bounds }: Numbers): string[] {
  if (kept === undefined) return [];
  const why = unsure
    ? TOO_FEW_FINISHED
    : windowMs > 0
      ? `the last ${seconds(windowMs)} needed ${kept}`
      : `${kept} kept from experience`;
  if (kept > bounds.maxReplicas) return [`${why}, and maxReplicas ${bounds.maxReplicas} allows no more`];
  return [cause === 'WithinWindow' ? `${why}: so the pool stays, though ${need} would do now` : why];
}

function parkedLines({ parked, current }: Numbers): string[] {
  if (!parked) return [];
  const { replicas, now } = parked;
  if (replicas === 0) return [`none can be parked: see the condition ParkingFailed; ${now} were`];
  return [`the pool keeps ${count(replicas, 'replica')} in all; ${current} worked, ${now} were parked`];
}

function stepLines(desired: number, { maxStep, wanted }: Numbers): string[] {
  if (!maxStep) return [];
  const limit = (way: 'up' | 'down'): string => {
    const step = maxStep[way];
    return step === undefined ? 'any' : 'percent' in step ? `${step.percent}%` : String(step.replicas);
  };
  const held =
    wanted === undefined || wanted === desired ? 'none is in the way' : `${wanted} would be wanted now`;
  return [`at most ${limit('up')} up and ${limit('down')} down in 15 s: ${held}`];
}

/** What a user who wants another number can do. */
function changeLines(cause: string, desired: number, numbers: Numbers): string[] {
  const { bounds, asked = 0, need = 0, windowMs = 0, wanted, fallback } = numbers;
  if (cause === 'Paused') return ['end the pause: mode: Active, and no millrace.dev/paused annotation'];
  if (cause === 'Fallback') return ['let the queue be read again; until then fallback.replicas holds'];
  if (cause === 'Unknown')
    return [
      fallback
        ? `let the queue be read again; after ${seconds(fallback.afterMs)} fallback.replicas ${fallback.replicas} holds`
        : 'let the queue be read again; or set fallback, for a number to go to when it cannot be read',
    ];
  const lines: string[] = [];
  if (asked > bounds.maxReplicas) lines.push(`maxReplicas ${asked} would allow what is asked for`);
  if (asked < bounds.minReplicas)
    lines.push(`minReplicas ${asked} would let the pool go down to what is asked for`);
  if (cause === 'WithinWindow' && wanted === desired && !numbers.unsure)
    lines.push(
      windowMs > 0
        ? `a shorter scaleDown.window than ${seconds(windowMs)} would let the others go sooner`
        : `scaleDown.window, set to a time, would take the place of experience (${need} would do now)`,
    );
  if (wanted !== undefined && wanted !== desired) lines.push('a larger maxStep would reach that immediately');
  return [...lines, ...tasksLines(numbers)];
}

/** The numbers of tasks at which the plain rule results in more, or fewer. */
function tasksLines({ plain = 0, asked = 0, tasksPerReplica, seen, target }: Numbers): string[] {
  if (!seen || tasksPerReplica === undefined || plain < asked) {
    return target && asked > 0 ? ['a longer targetWait needs fewer replicas, a shorter one more'] : [];
  }
  const tasks = seen.waiting + seen.inFlight + seen.due;
  const more = `one more from ${count(plain * tasksPerReplica + 1, 'task')} on`;
  const fewer = plain > 0 ? `, one fewer at ${count((plain - 1) * tasksPerReplica, 'task')}` : '';
  return [`${more}${fewer}; there are ${tasks}`];
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(2))} %`;
}
