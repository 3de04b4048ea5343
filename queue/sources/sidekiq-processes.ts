/**
 * What Sidekiq's processes say of themselves with each heartbeat. When that was they say by their own clocks. Where that cannot be, by
 * the clock of Redis, it is derived from when Redis will forget their record: a minute after the heartbeat.
 */
import { plainText } from '../../runtime/plain-text.ts';
import { LONGEST, type Ask } from './ask.ts';
import { replyCode } from '../connection/reply-code.ts';
import { existingKeys, fields, namedHashes, timeToLive } from './question.ts';
import { SourceTrouble, type Concern, type SourceWorker } from './source.ts';

/** The most between two heartbeats, and what one takes, ms. */
export const LONGEST_BEAT_MS = 12_000;
/** Names that are read by one command. There may be as many that were killed. */
const MOST_NAMES = 1_500;
/** Of a Redis with more names, the processes that are read, by a command each. */
const MOST_PROCESSES = 500;
/** For how long a record stays after a heartbeat. */
const RECORD_MS = 60_000;
/** After this, a heartbeat is overdue. */
const SILENT_MS = LONGEST_BEAT_MS + 3_000;
/** How far ahead a clock may be for a heartbeat to be believed. */
const AHEAD_MS = 1_000;
const FIELDS = ['info', 'busy', 'quiet', 'beat'] as const;

interface SidekiqProcess {
  /** `host:pid:nonce`. */
  readonly identity: string;
  /** Jobs that it runs, those of other queues included; `undefined` where what it says is no number of them. */
  readonly busy: number | undefined;
  readonly quiet: boolean;
  /** Its last heartbeat, ms by its own clock. */
  readonly beatAt: number;
  /** Since then, ms; `undefined` where its clock is off and Redis does not say when the record ends. */
  readonly ageMs: number | undefined;
  /** One whose queues do not fit into what is read may take from any. */
  readonly takesFrom: (queue: string) => boolean;
  /** What it takes from, where that fits into what is read. */
  readonly queues: readonly string[];
}

/**
 * All of them, whatever they take from. One round trip, as a rule, and three if there are very many names: one whose process was
 * killed stays, and what it said is gone after a minute. Throws for a version whose keys are not known.
 */
export async function readProcesses(
  ask: Ask,
): Promise<{ readonly now: number; readonly processes: readonly SidekiqProcess[] }> {
  const { now, reports } = await readReports(ask);
  const processes = [...reports].flatMap(([identity, [info, busy, quiet, beat]]) => {
    if (info === undefined) return [];
    const beatAt = Number(beat) * 1_000;
    const ageMs = isLikely(now - beatAt) ? Math.max(0, now - beatAt) : undefined;
    return [{ identity, busy: jobsIn(busy), quiet: quiet === 'true', beatAt, ageMs, ...queuesIn(info) }];
  });
  return { now, processes };
}

/** Anybody may have written it: a negative one would hide what others run. */
function jobsIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function isLikely(ageMs: number): boolean {
  return ageMs >= -AHEAD_MS && ageMs <= SILENT_MS;
}

/** With the ages of the heartbeats that are not known by the clocks of the processes. One more round trip, where there are any. */
export async function withAges(
  ask: Ask,
  processes: readonly SidekiqProcess[],
): Promise<readonly SidekiqProcess[]> {
  const unlikely = processes.filter(({ ageMs }) => ageMs === undefined).slice(0, MOST_PROCESSES);
  const asked = unlikely.map(({ identity }) => timeToLive(identity));
  const { answers } = await ask(asked).catch((error: unknown) => {
    // a user as of an earlier version of docs/sources.md
    if (replyCode(error) !== 'NOPERM') throw error;
    return { answers: [] };
  });
  const left = new Map(unlikely.map(({ identity }, i) => [identity, answers[i]]));
  return processes.map((one) => {
    const ms = left.get(one.identity);
    return ms === undefined || ms > RECORD_MS ? one : { ...one, ageMs: RECORD_MS - ms };
  });
}

/** How far its clock is ahead of that of Redis, ms; 0 where they agree by some seconds. */
export function clockAhead({ beatAt, ageMs }: SidekiqProcess, now: number): number {
  const aheadMs = ageMs === undefined ? 0 : beatAt + ageMs - now;
  return Math.abs(aheadMs) > SILENT_MS ? aheadMs : 0;
}

type Reports = ReadonlyMap<string, readonly (string | undefined)[]>;

async function readReports(ask: Ask): Promise<{ readonly now: number; readonly reports: Reports }> {
  const { now, answers } = await ask({ all: namedHashes('processes', MOST_NAMES, ...FIELDS) });
  if (answers.all) return { now, reports: answers.all };
  const { names } = (await ask({ names: existingKeys('processes', MOST_PROCESSES) })).answers;
  const later = await ask(names.map((name) => fields(name, ...FIELDS)));
  return { now: later.now, reports: new Map(names.map((name, i) => [name, later.answers[i] ?? []])) };
}

export function isSilent({ ageMs }: SidekiqProcess): boolean {
  return ageMs === undefined || ageMs > SILENT_MS;
}

/** The jobs that it runs, as far as it says; the least that it may run where that cannot be read. */
export function busyIn({ busy = 1 }: SidekiqProcess): number {
  return busy;
}

/** Without a heartbeat it may hold what it has not said. */
export function workerOf(process: SidekiqProcess): SourceWorker {
  const { identity, quiet, ageMs } = process;
  const silent = isSilent(process);
  const host = identity.replace(/:\d+:[0-9a-f]+$/, '');
  const tasks = silent ? Math.max(1, busyIn(process)) : busyIn(process);
  const seen = ageMs === undefined ? {} : { seenMs: Math.round(ageMs) };
  return { id: identity, hosts: [host], tasks, quiet, silent, ...seen };
}

/** About processes that do not say how many jobs they run. */
export function concernsOf(processes: readonly SidekiqProcess[]): Concern[] {
  const odd = processes.filter(({ busy }) => busy === undefined);
  const [first] = odd;
  if (!first) return [];
  return [
    {
      note: `the field "busy" of ${plainText(first.identity, 100)}${odd.length > 1 ? ` and ${odd.length - 1} more` : ''} is no number of jobs`,
      todo: 'its pod is held, as it may run any: see what else writes to that key; a process of Sidekiq writes it anew with its next heartbeat',
      holds: true,
    },
  ];
}

function queuesIn(info: string): Pick<SidekiqProcess, 'takesFrom' | 'queues'> {
  const [, version] = /"version":"(\d+)\./.exec(info) ?? [];
  // it is named since version 7
  if (version !== undefined && version !== '7' && version !== '8')
    throw new SourceTrouble(
      'UnknownLayout',
      `a process of Sidekiq ${version} is here, and the layouts of Sidekiq 6 to 8 are known`,
      'use one of these, or source.custom',
    );
  const [, list] = /"queues":\[((?:"(?:[^"\\]|\\.)*"[,\s]*)*)\]/.exec(info) ?? [];
  if (list === undefined) return { takesFrom: () => Buffer.byteLength(info) >= LONGEST, queues: [] };
  const quoted = new Set(Array.from(list.matchAll(/"(?:[^"\\]|\\.)*"/g), ([name]) => name));
  return {
    takesFrom: (queue) => quoted.has(JSON.stringify(queue)),
    queues: [...quoted].map((name) => name.slice(1, -1)),
  };
}
