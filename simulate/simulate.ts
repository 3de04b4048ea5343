/**
 * `simulate/` takes a trace and an autoscaler and returns waits and costs. Pure; of `controller/` it knows only `decide/`.
 *
 * Runs a trace against an autoscaler, in discrete events: arrivals, ends of tasks, pods that come up, pods that run out of
 * grace, and runs of the autoscaler. The slot that has been free for longest takes the next task. It ends with the last task,
 * or, if tasks are cut off again and again, when none has ended for long. The same input gives the same run.
 */
import type { Autoscaler, World } from './autoscaler.ts';
import { createFleet, type Fleet, type SimulatedPod } from './fleet.ts';
import { createHeap, type EventHeap } from './heap.ts';
import { createRandom } from './random.ts';
import type { TaskTrace } from './trace.ts';
import { createFreeSlots, createWork, type FreeSlots, type Work } from './work.ts';

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

/** What an event of the heap is about: 4 × the number of a task or a pod, and one of these. */
const DONE = 0;
const UP = 1;
const GRACE_OVER = 2;
const MOST_DECISIONS = 1_000;
/** The run is given up when no task has ended for STALL_FACTOR times the longest task, and for an hour at least. */
const STALL_FACTOR = 20;
const STALL_TIMEOUT_MS = 3_600_000;

export function simulate(trace: TaskTrace, autoscaler: Autoscaler, setting: Setting): Run {
  const tasks = trace.arrivals.length;
  const clock: Clock = { now: 0, demandMs: 0 };
  const events = createHeap();
  const work = createWork(trace);
  const free = createFreeSlots(setting.slots);
  const fleet = openFleet(autoscaler, setting, { clock, events, free });
  const world = worldOf(work, fleet, clock);
  const scaler = createScaler(autoscaler, fleet, world);
  const notes = createNotes(setting.noteMs, world);
  const stallMs = stallTimeout(trace);
  let busyKilled = 0;

  while (work.completed < tasks && (work.nextArrival < Infinity || clock.now < work.progressAt + stallMs)) {
    const arrival = work.nextArrival;
    const at = Math.min(arrival, events.next, scaler.next, notes.next);
    clock.demandMs += (work.waiting + work.inFlight) * (at - clock.now);
    clock.now = at;
    if (at === events.next) {
      if (happen(events.pop(), { work, fleet, free }, at)) busyKilled++;
      serve(work, free, events, at);
    } else if (at === arrival) {
      work.arrive(at);
      serve(work, free, events, at);
      if (scaler.listens && work.waiting > 0) {
        scaler.run(at);
        // a parked pod works at once
        serve(work, free, events, at);
      }
    } else if (at === scaler.next) {
      scaler.run(at);
      serve(work, free, events, at);
    } else notes.take(at);
  }
  return {
    name: autoscaler.name,
    waits: work.waits,
    endMs: clock.now,
    podMs: fleet.podMs(clock.now),
    starts: fleet.starts,
    scaleActions: scaler.actions,
    busyStopped: fleet.busyStopped,
    busyKilled,
    unfinished: tasks - work.completed,
    notes: notes.all,
    decisions: scaler.decisions,
  };
}

interface Clock {
  now: number;
  /** Integral over time of waiting + in flight, task-ms. */
  demandMs: number;
}

function stallTimeout({ services }: TaskTrace): number {
  const longest = services.reduce((most, service) => Math.max(most, service), 0);
  return Math.max(STALL_FACTOR * longest, STALL_TIMEOUT_MS);
}

/** The pods, those that the autoscaler begins with up already; what becomes of them is pushed to `events`. */
function openFleet(
  autoscaler: Autoscaler,
  { startMs, startVariation = 0, slots, graceMs = 30_000, seed = 1 }: Setting,
  { clock, events, free }: { clock: Clock; events: EventHeap; free: FreeSlots },
): Fleet {
  const random = createRandom(seed);
  const fleet = createFleet({
    victims: autoscaler.victims,
    slots,
    random,
    parkedShare: autoscaler.parking?.share ?? 0,
    onCreate: (pod) => {
      const took = startVariation > 0 ? random.lognormal(startMs, startVariation) : startMs;
      events.push(clock.now + took, 4 * pod.id + UP);
    },
    onFree: (pod) => free.push(pod),
    onStop: (pod) => events.push(clock.now + graceMs, 4 * pod.id + GRACE_OVER),
  });
  const { initial, parking: { replicas: parked } = { replicas: 0 } } = autoscaler;
  for (let i = 0; i < initial; i++) fleet.scale(i + 1, 0);
  for (const pod of fleet.pods) fleet.up(pod, 0);
  // as in a new pool, they start first, which shows how long that takes
  fleet.scale(initial + parked, 0);
  fleet.scale(initial, 0, parked);
  return fleet;
}

function worldOf(work: Work, fleet: Fleet, clock: Clock): World {
  return {
    get waiting() {
      return work.waiting;
    },
    get inFlight() {
      return work.inFlight;
    },
    get taken() {
      return work.taken;
    },
    get completed() {
      return work.completed;
    },
    get serviceMs() {
      return work.serviceMs;
    },
    get squaresMs2() {
      return work.squaresMs2;
    },
    get demandMs() {
      return clock.demandMs;
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
    get parked() {
      return fleet.parked;
    },
  };
}

/** Gives waiting tasks to free slots. */
function serve(work: Work, free: FreeSlots, events: EventHeap, now: number): void {
  while (work.waiting > 0) {
    const pod = free.next();
    if (!pod) return;
    const { task, endsAt } = work.start(pod, now);
    events.push(endsAt, 4 * task + DONE);
  }
}

/** Applies an event of the heap. Returns true if it cut off what a pod still ran at the end of its grace period. */
function happen(
  event: number,
  { work, fleet, free }: { work: Work; fleet: Fleet; free: FreeSlots },
  now: number,
): boolean {
  const index = Math.floor(event / 4);
  if (event % 4 === DONE) {
    const pod = work.finish(index, now);
    if (pod?.state === 'ready') free.push(pod);
    else if (pod?.tasks.size === 0) fleet.leave(pod, now);
    return false;
  }
  const pod = fleet.pods[index] as SimulatedPod;
  if (event % 4 === UP) fleet.up(pod, now);
  else if (pod.state === 'leaving') {
    work.cutOff(pod);
    fleet.leave(pod, now);
    return true;
  }
  return false;
}

/** Runs the autoscaler when it asked to be, and does what it decides. */
function createScaler(autoscaler: Autoscaler, fleet: Fleet, world: World) {
  const decisions: { at: number; reason: string }[] = [];
  let requested = autoscaler.initial;
  const scaler = {
    /** When it is to run next, ms. */
    next: 0,
    /** The next push to the empty list runs it. */
    listens: false,
    actions: 0,
    decisions,
    run: (now: number): void => {
      const { replicas, parked, next, wakesOnPush, reason } = autoscaler.look(now, world);
      scaler.next = next;
      scaler.listens = wakesOnPush && world.waiting === 0;
      fleet.scale(replicas, now, parked);
      if (replicas === requested) return;
      requested = replicas;
      scaler.actions++;
      if (reason !== undefined && decisions.length < MOST_DECISIONS) decisions.push({ at: now, reason });
    },
  };
  return scaler;
}

/** The state every `everyMs`, for a chart; none by default. */
function createNotes(everyMs: number | undefined, world: World) {
  const all: Note[] = [];
  const notes = {
    all,
    next: everyMs === undefined ? Infinity : 0,
    take: (at: number): void => {
      const { waiting, inFlight, wanted, ready } = world;
      all.push({ at, waiting, inFlight, wanted, ready });
      notes.next += everyMs ?? Infinity;
    },
  };
  return notes;
}
