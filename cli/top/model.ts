/** The state of `millrace top`, and how keys change it. Pure: takes keys, returns a state and a wish. */
import type { ListedWorkers } from '../../queue/sources/list-workers.ts';
import type { BatchView } from '../../queue/batches/record.ts';
import type { Outcome } from '../../queue/crons.ts';
import type { LimitUsage } from '../../queue/limits/usage.ts';
import type { WorkerSummary } from '../commands/workers.ts';

/** A pool, or a queue of a bare Redis. `undefined`: not known. */
export interface TopRow {
  readonly key: string;
  readonly name: string;
  readonly queue: string;
  readonly waiting: number | undefined;
  readonly inFlight: number | undefined;
  readonly delayed: number | undefined;
  readonly dead: number | undefined;
  /** Replicas, or workers without a pool; and their desired number. */
  readonly replicas: number | undefined;
  readonly desired: number | undefined;
  /** Tasks a second. */
  readonly rate: number | undefined;
  /** Service time of tasks, and the wait of the last ones, human-readable. */
  readonly service: string | undefined;
  readonly wait: string | undefined;
  readonly state: string;
  readonly bad: boolean;
  readonly decision: string;
}

export interface TopLetter {
  readonly id: string;
  readonly queue: string;
  /** ms since the epoch; 0 if it is not known. */
  readonly at: number;
  readonly attempts: number;
  readonly error: string;
}

/** A batch of one of the row's queues. */
export interface TopBatch extends BatchView {
  readonly queue: string;
  /** Parts that ended a second lately. */
  readonly rate: number | undefined;
}

export interface TopCron {
  readonly name: string;
  readonly schedule: string;
  readonly timeZone: string;
  readonly suspended: boolean;
  /** ms since the epoch. */
  readonly lastAt: number | undefined;
  readonly lastTask: string | undefined;
  readonly nextAt: number | undefined;
  readonly outcome: Outcome | undefined;
  readonly missed: number;
  readonly skipped: number;
}

/** A limit of one of the row's queues, or one of the keys that have the most held tasks. */
export interface TopLimit {
  readonly queue: string;
  readonly kind: LimitUsage['kind'] | 'key';
  /** The limit, human-readable, or the key. */
  readonly text: string;
  /** See `LimitUsage`; of a key, its tasks in flight, `undefined` where those are not limited. */
  readonly used: number | undefined;
  readonly most: number | undefined;
  readonly held: number;
  /** Of a key: when its next task may begin, ms since the epoch; `undefined`: when one of its tasks has ended. */
  readonly nextAt: number | undefined;
  /** Who has set it, and when, ms since the epoch. */
  readonly by: string;
  readonly at: number;
}

export type TopTab = 'workers' | 'dead' | 'batches' | 'crons' | 'limits';

/** The details of a row. */
export interface TopDetail {
  readonly workers: readonly WorkerSummary[];
  /** Instead of them, where the tasks are those of another library, whose failed tasks are not listed. */
  readonly source: ListedWorkers | undefined;
  readonly letters: readonly TopLetter[];
  /** Open ones first. */
  readonly batches: readonly TopBatch[];
  /** Number of those that are open, and of those that ended within the last week. */
  readonly batchCount: number;
  readonly crons: readonly TopCron[];
  /** Keys below the limit that they wait for. */
  readonly limits: readonly TopLimit[];
}

export interface TopData {
  readonly rows: readonly TopRow[];
  /** Of the opened row; `undefined` until it was read. */
  readonly detail: TopDetail | undefined;
}

const topSorts = ['name', 'waiting', 'inFlight', 'replicas', 'rate', 'dead'] as const;
export type TopSort = (typeof topSorts)[number];

export interface TopState {
  readonly sort: TopSort;
  readonly filter: string;
  /** Keys edit the filter. */
  readonly typing: boolean;
  /** Key of the row under the cursor; if it is gone, the first row counts. */
  readonly chosen: string | undefined;
  readonly opened: { readonly key: string; readonly tab: TopTab; readonly cursor: number } | undefined;
  /** A question that y confirms. */
  readonly asking:
    | { readonly how: 'requeue' | 'drop'; readonly letters: readonly TopLetter[] | 'all' }
    | { readonly how: 'cancel'; readonly batch: TopBatch }
    | undefined;
}

export const firstState: TopState = {
  sort: 'name',
  filter: '',
  typing: false,
  chosen: undefined,
  opened: undefined,
  asking: undefined,
};

/** A key as node:readline reports it. */
export interface Key {
  readonly name: string;
  /** The text that it types, if any. */
  readonly text: string;
  readonly ctrl: boolean;
}

export type Wish =
  | { readonly kind: 'quit' }
  | { readonly kind: 'open'; readonly key: string }
  | { readonly kind: 'close' }
  | {
      readonly kind: 'move';
      readonly how: 'requeue' | 'drop';
      readonly letters: readonly TopLetter[] | 'all';
    }
  | { readonly kind: 'cancel'; readonly batch: TopBatch };

export interface Pressed {
  readonly state: TopState;
  readonly wish?: Wish;
}

/** The rows that match the filter, in order. */
export function visibleRows({ sort, filter }: TopState, rows: readonly TopRow[]): TopRow[] {
  const figure = (row: TopRow): number => (sort === 'name' ? 0 : (row[sort] ?? -1));
  const wanted = filter.toLowerCase();
  return rows
    .filter(({ name, queue, state }) => `${name} ${queue} ${state}`.toLowerCase().includes(wanted))
    .toSorted((a, b) => figure(b) - figure(a) || (a.name < b.name ? -1 : 1));
}

export function cursorOf(state: TopState, visible: readonly TopRow[]): number {
  return Math.max(
    0,
    visible.findIndex(({ key }) => key === state.chosen),
  );
}

export function press(state: TopState, key: Key, data: TopData): Pressed {
  if (key.ctrl && key.name === 'c') return { state, wish: { kind: 'quit' } };
  if (state.asking) return answered(state, state.asking, key);
  if (state.typing) return { state: typed(state, key) };
  if (key.text === 'q') return { state, wish: { kind: 'quit' } };
  return state.opened ? pressedInside(state, state.opened, key, data) : pressedInList(state, key, data);
}

function answered(state: TopState, asking: NonNullable<TopState['asking']>, key: Key): Pressed {
  const closed = { ...state, asking: undefined };
  if (key.text !== 'y') return { state: closed };
  if (asking.how === 'cancel') return { state: closed, wish: { kind: 'cancel', batch: asking.batch } };
  return { state: closed, wish: { kind: 'move', ...asking } };
}

function typed(state: TopState, { name, text, ctrl }: Key): TopState {
  if (isEnter(name)) return { ...state, typing: false };
  if (name === 'escape') return { ...state, typing: false, filter: '' };
  if (name === 'backspace') return { ...state, filter: state.filter.slice(0, -1) };
  return /^\P{Cc}+$/u.test(text) && !ctrl ? { ...state, filter: state.filter + text } : state;
}

function pressedInList(state: TopState, key: Key, { rows }: TopData): Pressed {
  const visible = visibleRows(state, rows);
  const at = cursorOf(state, visible);
  const to = moved(at, key, visible.length);
  if (to !== undefined) return { state: { ...state, chosen: visible[to]?.key } };
  const row = visible[at];
  if (isEnter(key.name) && row) {
    const opened = { key: row.key, tab: 'workers', cursor: 0 } as const;
    return { state: { ...state, chosen: row.key, opened }, wish: { kind: 'open', key: row.key } };
  }
  if (key.text === '/') return { state: { ...state, typing: true } };
  if (key.name === 'escape') return { state: { ...state, filter: '' } };
  if (key.text === 's') {
    const next = topSorts[(topSorts.indexOf(state.sort) + 1) % topSorts.length];
    return { state: { ...state, sort: next ?? 'name' } };
  }
  return { state };
}

function pressedInside(
  state: TopState,
  opened: NonNullable<TopState['opened']>,
  key: Key,
  { detail }: TopData,
): Pressed {
  if (key.name === 'escape' || key.name === 'backspace' || key.name === 'left')
    return { state: { ...state, opened: undefined }, wish: { kind: 'close' } };
  if (key.name === 'tab')
    return { state: { ...state, opened: { ...opened, cursor: 0, tab: nextTab(detail, opened.tab) } } };
  const letters = detail?.letters ?? [];
  const length = detail ? lengthOf(detail, opened.tab) : 0;
  const cursor = Math.min(opened.cursor, Math.max(0, length - 1));
  const to = moved(cursor, key, length);
  if (to !== undefined) return { state: { ...state, opened: { ...opened, cursor: to } } };
  const batch = opened.tab === 'batches' && key.text === 'c' ? detail?.batches[cursor] : undefined;
  if (batch?.endedAt === undefined && batch) return { state: { ...state, asking: { how: 'cancel', batch } } };
  if (opened.tab !== 'dead' || length === 0) return { state };
  const how = { r: 'requeue', d: 'drop' } as const;
  const chosen = how[key.text.toLowerCase() as keyof typeof how];
  if (!chosen) return { state };
  const all = key.text !== key.text.toLowerCase();
  return {
    state: { ...state, asking: { how: chosen, letters: all ? 'all' : letters.slice(cursor, cursor + 1) } },
  };
}

const TABS: readonly TopTab[] = ['workers', 'dead', 'batches', 'crons', 'limits'];

/** Batches, crons and limits have a tab where there are any. */
export function tabsOf(detail: TopDetail | undefined, open: TopTab): TopTab[] {
  return TABS.filter(
    (tab) => tab === 'workers' || tab === 'dead' || tab === open || (detail && lengthOf(detail, tab) > 0),
  );
}

export function nextTab(detail: TopDetail | undefined, open: TopTab): TopTab {
  const tabs = tabsOf(detail, open);
  return tabs[(tabs.indexOf(open) + 1) % tabs.length] ?? 'workers';
}

function lengthOf(detail: TopDetail, tab: TopTab): number {
  const { letters, batches, crons, limits } = detail;
  return { workers: workersIn(detail), dead: letters, batches, crons, limits }[tab].length;
}

export function workersIn({ workers, source }: TopDetail): TopDetail['workers'] | ListedWorkers['workers'] {
  return source?.workers ?? workers;
}

/** Terminals send either. */
function isEnter(name: string): boolean {
  return name === 'return' || name === 'enter';
}

const PAGE = 10;

/** The cursor's new place; `undefined` for other keys. */
function moved(at: number, { name, text }: Key, length: number): number | undefined {
  const steps: Record<string, number> = {
    up: -1,
    down: 1,
    pageup: -PAGE,
    pagedown: PAGE,
    home: -Infinity,
    end: Infinity,
  };
  const step = steps[name] ?? (text === 'k' ? -1 : text === 'j' ? 1 : undefined);
  return step === undefined ? undefined : Math.max(0, Math.min(length - 1, at + step));
}
