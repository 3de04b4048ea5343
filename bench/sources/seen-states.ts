/**
 * The states into which `sources-seen` brings a queue library, by its own clients and workers. In most of them the length of its
 * list is not the number of tasks that are left to do.
 */
import type { Redis } from 'ioredis';
import type { Celery } from '../../test/sources/celery.ts';
import type { Library, LibraryCase, LibraryWorker } from '../../test/sources/library.ts';
import { tasksAtGate, unusedReleases } from '../../test/sources/processes.ts';
import { eventually } from '../../test/support/eventually.ts';

/** A library that was just opened on an empty server. */
export interface Stage {
  readonly library: Library;
  readonly redis: Redis;
  /** Where tasks wait to be released. */
  readonly gate: Redis;
}

/** What is left to do, by what was pushed and what the tasks themselves have done. */
export interface Truth {
  /** Tasks that a worker could run now, or runs. */
  readonly left: number;
  /** What the number alone does not say. */
  readonly note?: string;
}

export interface State {
  readonly name: string;
  /** Resolves when it is reached. */
  readonly reach: (stage: Stage) => Promise<Truth>;
}

/** The worker of the states: Celery's takes tasks ahead, as it does by default; those of the others take one at a time. */
interface Crew {
  readonly words: string;
  readonly runs: number;
  /** Running ones included. */
  readonly takes: number;
  readonly start: (library: Library) => Promise<LibraryWorker>;
}

const HOUR_MS = 3_600_000;
const TASKS = 20;
const PRIORITIES = [0, 1, 2, 3, 5, 6, 8, 9];
const PATIENCE = { withinMs: 60_000, everyMs: 50 };

/** Of a library that was opened: some can do more than others. */
export function statesOf(one: LibraryCase, library: Library): readonly State[] {
  const delays = !one.settings.stream && !one.settings.list;
  return [
    ...stateOfWorkers(one, crewOf(one)),
    ...(delays ? delayed : []),
    ...(library.pushPriorities ? [priorities] : []),
    ...(library.group ? [group] : []),
    ...(library.pause ? [paused] : []),
  ];
}

function crewOf({ settings, losesTasks = false }: LibraryCase): Crew {
  if (!settings.celery)
    return { words: 'one worker', runs: 1, takes: 1, start: (library) => library.work('pod-1') };
  return {
    words: 'one worker with -c 2',
    runs: 2,
    // with acks_late, the running ones are among the four for each process
    takes: losesTasks ? 10 : 8,
    start: (library) => (library as Celery).work('pod-1', '-c', '2', '--prefetch-multiplier', '4'),
  };
}

function stateOfWorkers({ losesTasks = false, settings }: LibraryCase, crew: Crew): readonly State[] {
  const { words, runs, takes, start } = crew;
  // Sidekiq shows them for another minute
  const lost = losesTasks || settings.sidekiq !== undefined ? runs : 0;
  return [
    {
      name: `${TASKS} tasks, no worker`,
      reach: async ({ library }) => {
        await library.push(TASKS);
        return { left: TASKS };
      },
    },
    {
      name: `${TASKS} tasks, ${words} runs ${runs}`,
      reach: async (stage) => {
        await start(stage.library);
        await stage.library.push(TASKS);
        await running(stage, runs);
        return { left: TASKS };
      },
    },
    {
      name: 'the last task runs',
      reach: async (stage) => {
        await start(stage.library);
        await stage.library.push(TASKS);
        await stage.library.release(TASKS - 1);
        await running(stage, 1);
        return { left: 1 };
      },
    },
    {
      name: `${takes === 1 ? 'a task' : `${takes} tasks`} of a killed worker, no other`,
      reach: async (stage) => {
        const worker = await start(stage.library);
        await stage.library.push(takes);
        await running(stage, runs);
        await worker.kill();
        return { left: takes - lost, ...(lost > 0 && { note: `${lost} more ran, lost now` }) };
      },
    },
  ];
}

const delayed: readonly State[] = [
  {
    name: 'a task for in an hour, no worker',
    reach: async ({ library }) => {
      await library.push(1, HOUR_MS);
      return { left: 0, note: '1 in an hour' };
    },
  },
  {
    name: '3 delayed tasks that are due, no worker',
    reach: async ({ library }) => {
      await library.push(3, 100);
      return { left: 3 };
    },
  },
];

const priorities: State = {
  name: `${PRIORITIES.length} tasks of the priorities 0 to 9, no worker`,
  reach: async ({ library }) => {
    await library.pushPriorities?.(PRIORITIES);
    return { left: PRIORITIES.length };
  },
};

const group: State = {
  name: '3 tasks of a group, no worker',
  reach: async ({ library }) => {
    await library.group?.(3);
    return { left: 1, note: 'the 3 become one' };
  },
};

const paused: State = {
  name: `${TASKS} tasks in a paused queue`,
  reach: async ({ library }) => {
    await library.push(1);
    await library.pause?.(true);
    await library.push(TASKS - 1);
    return { left: 0, note: `${TASKS} once resumed` };
  },
};

/** Resolves when this many tasks run, and all that were released have ended. */
async function running({ redis, gate }: Stage, tasks: number): Promise<void> {
  await eventually(async () => {
    const [unused, now] = [await unusedReleases(gate), await tasksAtGate(redis)];
    if (unused !== 0 || now !== tasks) throw new Error(`${now} tasks run, and not ${tasks}`);
  }, PATIENCE);
}
