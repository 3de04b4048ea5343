/**
 * `simulate/` takes a trace and an autoscaler and returns waits and costs. Pure; of `controller/` it knows only `decide/`.
 *
 * Runs a trace against an autoscaler, in discrete events: arrivals, ends of tasks, pods that come up, pods that run out of
 * grace, and runs of the autoscaler. The list is first in, first out; the slot that has been free for longest takes
 * the next task. It ends with the last task,
 * or, where tasks are cut off again and again, when none has ended for long. The same input gives the same run.
 */
import type { Autoscaler, World } from './autoscaler.ts';
import { createFleet, type Pod } from './fleet.ts';
import { createHeap } from './heap.ts';
import { createRandom } from './random.ts';
import type { Trace } from './trace.ts';

export interface Setting {
  /** From a pod's creation to its first task, ms. */
  readonly startMs: number;
  /** Spread of the start time: standard deviation / mean. */
  readonly startVariation?: number;
  readonly slots: number;
  /** What a ReplicaSet's victims may take to finish, ms; Kubernetes' default is 30 s. */
  readonly graceMs?: number;
  readonly seed?: number;
  /** When the trace begins, ms since the epoch: for schedules, and hours of the day. */
  readonly beginMs?: number;
  /** Interval at which the state is recorded for a chart, ms; not recorded by default. */
  readonly noteMs?: number;
}

export interface Note {
  readonly at: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly wanted: number;
  readonly ready: number;
}

export interface Run {
  readonly name: string;
  /** From arrival until the task began for the last time, ms, in the order of arrival. */
  readonly waits: Float64Array;
  readonly endMs: number;
  readonly podMs: number;
  readonly starts: number;
  readonly scaleActions: number;
  /** Busy pods that were stopped because victims are picked without regard to their tasks. */
  readonly busyStopped: number;
  /** Of these, those that had not finished at the end of the grace period; their tasks ran again. */
  readonly busyKilled: number;
  /** Tasks that had not finished when the run was given up: each run of theirs was cut off. */
  readonly unfinished: number;
  readonly notes: readonly Note[];
  readonly decisions: readonly { readonly at: number; readonly reason: string }[];
}

const DONE = 0;
const UP = 1;
const GRACE_OVER = 2;
const MOST_DECISIONS = 1_000;
/** The run is given up when no task has ended for STALL_FACTOR times the longest task, and for an hour at least. */
const STALL_FACTOR = 20;
const STALL_TIMEOUT_MS = 3_600_000;

export function simulate(trace: Trace, autoscaler: Autoscaler, setting: Setting): Run {
  const { startMs, startVariation = 0, slots, graceMs = 30_000, seed = 1, noteMs = Infinity } = setting;
  const { arrivals, services } = trace;
  const random = createRandom(seed);
  const events = createHeap();
  const waits = new Float64Array(arrivals.length);
  /** When a task's present run ends; an event of another time belongs to a run that was cut off. */
  const endsAt = new Float64Array(arrivals.length);
  const runner: (Pod | undefined)[] = [];
  const notes: Note[] = [];
  const decisions: { at: number; reason: string }[] = [];
  let now = 0;
  let arrived = 0;
  let head = 0;
  const returned: number[] = [];
  let free: Pod[] = [];
  let freeHead = 0;
  let busyKilled = 0;
  let scaleActions = 0;
  let demandMs = 0;
  let completed = 0;
  let endedAt = 0;
  let taken = 0;
  let serviceMs = 0;
  let squaresMs2 = 0;

  const fleet = createFleet({
    victims: autoscaler.victims,
    slots,
    random,
    onCreate: (pod) => {
      const took = startVariation > 0 ? random.lognormal(startMs, startVariation) : startMs;
      events.push(now + took, 4 * pod.id + UP);
    },
    onFree: (pod) => free.push(pod),
    onStop: (pod) => events.push(now + graceMs, 4 * pod.id + GRACE_OVER),
  });

  const world: World = {
    get waiting() {
      return arrived - head + returned.length;
    },
    get inFlight() {
      return taken - completed;
    },
    get taken() {
      return taken;
    },
    get completed() {
      return completed;
    },
    get serviceMs() {
      return serviceMs;
    },
    get squaresMs2() {
      return squaresMs2;
    },
    get demandMs() {
      return demandMs;
    },
    get wanted() {
      return fleet.wanted;
    },
    get existing() {
      return fleet.existing;
    },
    get ready() {
      return fleet.ready;
    },
  };

  function freeSlot(): Pod | undefined {
    while (freeHead < free.length) {
      const pod = free[freeHead++] as Pod;
      if (freeHead > 4_096 && freeHead * 2 > free.length) {
        free = free.slice(freeHead);
        freeHead = 0;
      }
      if (pod.state === 'ready' && pod.tasks.size < slots) return pod;
    }
    return undefined;
  }

  /** Gives waiting tasks to free slots. */
  function serve(): void {
    while (world.waiting > 0) {
      const pod = freeSlot();
      if (!pod) return;
      const task = returned.pop() ?? head++;
      taken++;
      pod.tasks.add(task);
      runner[task] = pod;
      waits[task] = now - (arrivals[task] as number);
      endsAt[task] = now + (services[task] as number);
      events.push(endsAt[task], 4 * task + DONE);
    }
  }

  function finish(task: number): void {
    const pod = runner[task];
    if (!pod || endsAt[task] !== now) return;
    runner[task] = undefined;
    pod.tasks.delete(task);
    completed++;
    endedAt = now;
    serviceMs += services[task] as number;
    squaresMs2 += (services[task] as number) ** 2;
    if (pod.state === 'ready') free.push(pod);
    else if (pod.tasks.size === 0) fleet.leave(pod, now);
  }

  function kill(pod: Pod): void {
    if (pod.state !== 'leaving') return;
    busyKilled++;
    for (const task of [...pod.tasks].toSorted((a, b) => b - a)) {
      runner[task] = undefined;
      endsAt[task] = Number.NaN;
      taken--;
      returned.push(task);
    }
    pod.tasks.clear();
    fleet.leave(pod, now);
  }

  let nextLook = 0;
  let listens = false;
  let asked = autoscaler.initial;
  function look(): void {
    const { replicas, next, wakesOnPush, reason } = autoscaler.look(now, world);
    nextLook = next;
    listens = wakesOnPush && world.waiting === 0;
    fleet.scale(replicas, now);
    if (replicas === asked) return;
    asked = replicas;
    scaleActions++;
    if (reason !== undefined && decisions.length < MOST_DECISIONS) decisions.push({ at: now, reason });
  }

  for (let i = 0; i < autoscaler.initial; i++) fleet.scale(i + 1, 0);
  for (const pod of fleet.pods) fleet.up(pod);
  let nextNote = Number.isFinite(noteMs) ? 0 : Infinity;
  const longest = services.reduce((most, service) => Math.max(most, service), 0);
  const patience = Math.max(STALL_FACTOR * longest, STALL_TIMEOUT_MS);
  while (completed < arrivals.length && (arrived < arrivals.length || now < endedAt + patience)) {
    const arrival = arrivals[arrived] ?? Infinity;
    const at = Math.min(arrival, events.next, nextLook, nextNote);
    demandMs += (world.waiting + world.inFlight) * (at - now);
    now = at;
    if (at === events.next) {
      const event = events.pop();
      const index = Math.floor(event / 4);
      if (event % 4 === DONE) finish(index);
      else if (event % 4 === UP) fleet.up(fleet.pods[index] as Pod);
      else kill(fleet.pods[index] as Pod);
      serve();
    } else if (at === arrival) {
      arrived++;
      endedAt = now;
      serve();
      if (listens && world.waiting > 0) look();
    } else if (at === nextLook) {
      look();
      serve();
    } else {
      const { waiting, inFlight, wanted, ready } = world;
      notes.push({ at, waiting, inFlight, wanted, ready });
      nextNote += noteMs;
    }
  }
  return {
    name: autoscaler.name,
    waits,
    endMs: now,
    podMs: fleet.podMs(now),
    starts: fleet.starts,
    scaleActions,
    busyStopped: fleet.busyStopped,
    busyKilled,
    unfinished: arrivals.length - completed,
    notes,
    decisions,
  };
}
