/**
 * Who held which task when, and who wrote its result: read off the history of all changes in Redis, which neither a
 * worker nor a script can embellish. A result is rightful when, in the same step in which it is written, its worker
 * gives up a delivery of exactly this task; a fenced worker has none to give up, because the reaping took them away.
 *
 * It knows the keys' formats, which are the contract between versions, and not the scripts.
 */
import { parseDead } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { parseTask } from '../../queue/task.ts';
import type { Command, Transaction } from './aof.ts';

export interface Write {
  readonly worker: string;
  readonly id: string;
  readonly value: string;
}

/** What became of the tasks of one id. */
export interface Fate {
  /** Pushed by clients; and the first time by a worker, as what follows a batch and what its parts add. */
  pushed: number;
  delivered: number;
  /** Settled by the worker that held them. */
  results: number;
  dead: number;
  retried: number;
  /** Given up for good without an end, as it was cancelled. */
  cancelled: number;
  /** Put back into the list: handed back, or taken from a worker that was lost. */
  returned: number;
}

export const noFate: Readonly<Fate> = {
  pushed: 0,
  delivered: 0,
  results: 0,
  dead: 0,
  retried: 0,
  cancelled: 0,
  returned: 0,
};

export interface Custody {
  readonly fates: ReadonlyMap<string, Fate>;
  /** Deliveries by worker and id, `worker id`. */
  readonly deliveries: ReadonlyMap<string, number>;
  /** Results in the order of their writing. */
  readonly writes: readonly Write[];
  /** Written by nobody who held the task. */
  readonly unheld: readonly Write[];
  /** Epochs that were ended by another: the worker, and the ids of the tasks that it held. */
  readonly fences: readonly { readonly worker: string; readonly ids: readonly string[] }[];
}

/** What happened in several queues of one run, in which each id belongs to one of them. */
export function readAllCustody(history: readonly Transaction[], queues: readonly QueueKeys[]): Custody {
  const each = queues.map((keys) => readCustody(history, keys));
  return {
    fates: new Map(each.flatMap(({ fates }) => [...fates])),
    deliveries: new Map(each.flatMap(({ deliveries }) => [...deliveries])),
    writes: each.flatMap(({ writes }) => writes),
    unheld: each.flatMap(({ unheld }) => unheld),
    fences: each.flatMap(({ fences }) => fences),
  };
}

export function readCustody(history: readonly Transaction[], keys: QueueKeys): Custody {
  const fates = new Map<string, Fate>();
  const deliveries = new Map<string, number>();
  const held = new Map<string, Map<string, string>>(); // worker → receipt → id
  const writes: Write[] = [];
  const unheld: Write[] = [];
  const fences: { worker: string; ids: string[] }[] = [];

  const fate = (id: string): Fate => {
    const known = fates.get(id);
    if (known) return known;
    const fresh: Fate = { ...noFate };
    fates.set(id, fresh);
    return fresh;
  };
  const holdings = (worker: string): Map<string, string> => {
    const known = held.get(worker) ?? new Map<string, string>();
    held.set(worker, known);
    return known;
  };

  for (const step of history) {
    const worker = workerOf(step, keys);
    if (worker === undefined) {
      pushedBy(step, keys).forEach((id) => fate(id).pushed++);
      continue;
    }
    const mine = holdings(worker);
    const given: string[] = [];
    const kept = { results: [] as Write[], dead: [] as string[], retried: [] as string[] };
    const back: string[] = [];
    let fenced = false;
    const giveUp = (receipts: readonly string[]): void => {
      for (const receipt of receipts) {
        const id = mine.get(receipt);
        if (mine.delete(receipt) && id !== undefined) given.push(id);
      }
    };
    for (const [name, key, ...args] of step.map(texts)) {
      if (key === keys.inflight(worker)) {
        if (name === 'HSET')
          for (let i = 0; i + 1 < args.length; i += 2) {
            const id = idOf(args[i + 1] ?? '');
            mine.set(args[i] ?? '', id);
            fate(id).delivered++;
            deliveries.set(`${worker} ${id}`, (deliveries.get(`${worker} ${id}`) ?? 0) + 1);
          }
        if (name === 'HDEL') giveUp(args);
      } else if (key === keys.result && name === 'HSET')
        for (let i = 0; i + 1 < args.length; i += 2)
          kept.results.push({ worker, id: utf8(args[i]), value: args[i + 1] ?? '' });
      else if (key === keys.dead && name === 'LPUSH')
        kept.dead.push(...args.map((entry) => idOf(parseDead(bytes(entry)).raw.toString('latin1'))));
      else if (key === keys.delayed && name === 'ZADD')
        for (let i = 1; i < args.length; i += 2) kept.retried.push(delayedId(args[i] ?? ''));
      else if (key === keys.queue && (name === 'LPUSH' || name === 'RPUSH'))
        for (const id of args.map(idOf)) {
          const { pushed, delivered } = fate(id);
          if (pushed + delivered > 0) back.push(id);
          else fate(id).pushed++;
        }
      else if (key === keys.suspects && (name === 'LPUSH' || name === 'RPUSH'))
        back.push(...args.map((entry) => idOf(entry.slice(entry.indexOf('|') + 1))));
      else if (key === keys.worker(worker) && name === 'HSET' && args.includes('lost')) fenced = true;
      if ((name === 'DEL' || name === 'UNLINK') && [key, ...args].includes(keys.inflight(worker)))
        giveUp([...mine.keys()]);
    }
    if (fenced) fences.push({ worker, ids: [...given] });
    for (const write of kept.results) {
      writes.push(write);
      if (take(given, write.id)) fate(write.id).results++;
      else unheld.push(write);
    }
    for (const id of kept.dead) if (take(given, id)) fate(id).dead++;
    for (const id of kept.retried) if (take(given, id)) fate(id).retried++;
    for (const id of given) fate(id)[fenced || take(back, id) ? 'returned' : 'cancelled']++;
  }
  return { fates, deliveries, writes, unheld, fences };
}

/** The worker whose state a step changes: of a turn, a registration or a reaping. Clients change none. */
function workerOf(step: Transaction, keys: QueueKeys): string | undefined {
  for (const [, ...names] of step)
    for (const name of names.slice(0, 3)) {
      const key = name.toString();
      for (const prefix of [keys.worker(''), keys.inflight(''), keys.wake('')])
        if (key.startsWith(prefix)) return key.slice(prefix.length);
    }
  return undefined;
}

/** Ids of what a client adds. */
function pushedBy(step: Transaction, keys: QueueKeys): string[] {
  return step.map(texts).flatMap(([name, key, ...args]) => {
    if (key === keys.queue && (name === 'LPUSH' || name === 'RPUSH')) return args.map(idOf);
    if (key === keys.delayed && name === 'ZADD') return args.filter((_, i) => i % 2 === 1).map(delayedId);
    return [];
  });
}

/** Text in which each character is a byte: comparing and slicing leave bytes as they are. */
const texts = ([name, ...args]: Command): string[] => [
  String(name).toUpperCase(),
  ...args.map((arg) => arg.toString('latin1')),
];
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const utf8 = (text = ''): string => bytes(text).toString();
const idOf = (raw: string): string => parseTask(bytes(raw)).id.toString();

/** `nonce|attempts|deliveries|task` */
function delayedId(member: string): string {
  return idOf(/^[^|]*\|\d+\|\d+\|([^]*)$/.exec(member)?.[1] ?? '');
}

function take(ids: string[], id: string): boolean {
  const at = ids.indexOf(id);
  if (at >= 0) ids.splice(at, 1);
  return at >= 0;
}
