/**
 * The tasks of a run: which have arrived, which wait in the list, which pod runs which, and how long they waited. The list is
 * first in, first out; a task that was cut off goes back to its front. Tasks are numbered in the order of arrival.
 */
import type { SimulatedPod } from './fleet.ts';
import type { TaskTrace } from './trace.ts';

export interface Work {
  /** From arrival until the task started for the last time, ms. */
  readonly waits: Float64Array;
  readonly waiting: number;
  readonly inFlight: number;
  /** Tasks that ever left the list, without those that were cut off. */
  readonly taken: number;
  readonly completed: number;
  readonly serviceMs: number;
  readonly squaresMs2: number;
  /** When the next task arrives; `Infinity` after the last one. */
  readonly nextArrival: number;
  /** When a task last arrived or ended. */
  readonly progressAt: number;
  arrive(now: number): void;
  /** Starts the next waiting task in `pod`. Returns its number, and when it ends unless it is cut off. */
  start(pod: SimulatedPod, now: number): { readonly task: number; readonly endsAt: number };
  /** Ends a task and returns its pod; `undefined` if that run of it was cut off. */
  finish(task: number, now: number): SimulatedPod | undefined;
  /** Puts back what the pod runs. */
  cutOff(pod: SimulatedPod): void;
}

export function createWork({ arrivals, services }: TaskTrace): Work {
  const waits = new Float64Array(arrivals.length);
  /** When a task's current run ends; an event of another time belongs to a run that was cut off. */
  const endsAt = new Float64Array(arrivals.length);
  const runner: (SimulatedPod | undefined)[] = [];
  const returned: number[] = [];
  let arrived = 0;
  let head = 0;

  const work = {
    waits,
    taken: 0,
    completed: 0,
    serviceMs: 0,
    squaresMs2: 0,
    progressAt: 0,
    get waiting() {
      return arrived - head + returned.length;
    },
    get inFlight() {
      return work.taken - work.completed;
    },
    get nextArrival() {
      return arrivals[arrived] ?? Infinity;
    },
    arrive: (now: number) => {
      arrived++;
      work.progressAt = now;
    },
    start: (pod: SimulatedPod, now: number) => {
      const task = returned.pop() ?? head++;
      const end = now + (services[task] as number);
      work.taken++;
      pod.tasks.add(task);
      runner[task] = pod;
      waits[task] = now - (arrivals[task] as number);
      endsAt[task] = end;
      return { task, endsAt: end };
    },
    finish: (task: number, now: number) => {
      const pod = runner[task];
      if (!pod || endsAt[task] !== now) return undefined;
      const service = services[task] as number;
      runner[task] = undefined;
      pod.tasks.delete(task);
      work.completed++;
      work.progressAt = now;
      work.serviceMs += service;
      work.squaresMs2 += service ** 2;
      return pod;
    },
    cutOff: (pod: SimulatedPod) => {
      for (const task of [...pod.tasks].toSorted((a, b) => b - a)) {
        runner[task] = undefined;
        endsAt[task] = Number.NaN;
        work.taken--;
        returned.push(task);
      }
      pod.tasks.clear();
    },
  };
  return work;
}

export interface FreeSlots {
  /** One more slot of this pod is free. */
  push(pod: SimulatedPod): void;
  /** The pod of the slot that has been free for longest, if it may still take a task. */
  next(): SimulatedPod | undefined;
}

/** `slots`: per pod. */
export function createFreeSlots(slots: number): FreeSlots {
  const COMPACT_FROM = 4_096;
  let free: SimulatedPod[] = [];
  let head = 0;
  return {
    push: (pod) => void free.push(pod),
    next: () => {
      while (head < free.length) {
        const pod = free[head++] as SimulatedPod;
        if (head > COMPACT_FROM && head * 2 > free.length) {
          free = free.slice(head);
          head = 0;
        }
        if (pod.state === 'ready' && pod.tasks.size < slots) return pod;
      }
      return undefined;
    },
  };
}
