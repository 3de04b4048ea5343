/** The screen of `millrace top` as lines that fit the terminal. Pure, except for colours. */
import { paint } from '../terminal/paint.ts';
import {
  cursorOf,
  nextTab,
  tabsOf,
  visibleRows,
  workersIn,
  type TopData,
  type TopDetail,
  type TopRow,
  type TopSort,
  type TopState,
  type TopTab,
} from './model.ts';
import type { ListedWorker, ListedWorkers } from '../../queue/sources/list-workers.ts';
import { knownFor, tasksOf } from '../commands/workers.ts';
import { batchColumns, chosenLine, cronColumns } from './batch-view.ts';
import { limitColumns } from './limit-view.ts';
import { fitting, GAP, rateText, tableLines, type Column } from './columns.ts';
import { age, fit } from '../terminal/table.ts';
import { plural } from '../../runtime/plural.ts';

export interface ScreenFrame {
  readonly title: string;
  readonly columns: number;
  readonly lines: number;
  /** ms since the epoch. */
  readonly now: number;
  /** The current problem, or the last action. */
  readonly note: string | undefined;
}

/** From this width on, the decision fits beside the figures. */
const WIDE = 110;
/** The smallest useful width. */
const DECISION = 26;
/** Of a state, on a wide terminal. */
const MOST_STATE = 20;

/** The lines of the screen, from the top; the last one is the help for keys. */
export function draw(state: TopState, data: TopData, frame: ScreenFrame): string[] {
  const { columns, lines, now } = frame;
  const clock = new Date(now).toTimeString().slice(0, 8);
  const head = `${fit(`millrace top  ${frame.title}`, columns - clock.length - 1)} ${clock}`;
  const body = state.opened ? inside(state, state.opened, data, frame) : list(state, data, frame);
  const foot = footer(state, data, frame).map((line) => fit(line, columns).trimEnd());
  const room = Math.max(0, lines - 1 - foot.length);
  const middle = Array.from({ length: room }, (_, i) => body[i] ?? '');
  return [paint('bold', head), ...middle, ...foot].slice(0, lines);
}

function list(state: TopState, { rows }: TopData, { columns, lines }: ScreenFrame): string[] {
  const visible = visibleRows(state, rows);
  const longest = Math.max(0, ...visible.map(({ name }) => name.length));
  const widest = Math.max(0, ...visible.map((row) => row.state.length));
  const shown = poolColumns(columns, state.sort, { name: longest, state: widest });
  if (visible.length === 0)
    return ['', rows.length === 0 ? '  Nothing is there yet.' : `  Nothing matches "${state.filter}".`];
  return tableLines(shown, visible, cursorOf(state, visible), lines - 5);
}

/** `longest`: the lengths of the longest texts. */
function poolColumns(
  columns: number,
  sort: TopSort,
  longest: { readonly name: number; readonly state: number },
): readonly Column<TopRow>[] {
  const number = (value: number | undefined): string =>
    value === undefined ? '-' : value.toLocaleString('en');
  const mark = (title: string, by: TopSort): string => (sort === by ? `${title}*` : title);
  const figures: Column<TopRow>[] = [
    { title: mark('WAITING', 'waiting'), width: 8, right: true, text: (row) => number(row.waiting) },
    {
      title: mark('FLIGHT', 'inFlight'),
      spare: true,
      width: 7,
      right: true,
      text: (row) => number(row.inFlight),
    },
    { title: mark('REPL', 'replicas'), width: 7, right: true, text: replicas },
    { title: mark('RATE', 'rate'), spare: true, width: 6, right: true, text: ({ rate }) => rateText(rate) },
    { title: 'WAIT', spare: true, width: 5, right: true, text: ({ wait = '-' }) => wait },
    {
      title: mark('DEAD', 'dead'),
      spare: true,
      width: 5,
      right: true,
      text: ({ dead }) => number(dead),
      colour: ({ dead = 0 }) => (dead > 0 ? 'yellow' : undefined),
    },
    {
      title: 'STATE',
      width: columns >= WIDE ? Math.max(11, Math.min(longest.state, MOST_STATE)) : 11,
      text: ({ state }) => state,
      colour: ({ bad }) => (bad ? 'red' : undefined),
    },
  ];
  const used = figures.reduce((sum, { width }) => sum + width + GAP, 0);
  const room = columns - used;
  const name = columns >= WIDE ? Math.max(8, Math.min(longest.name + 1, room - DECISION)) : Math.max(8, room);
  const decision = room - name - GAP;
  return fitting(columns, [
    { title: mark('NAME', 'name'), width: name, text: (row) => row.name },
    ...figures,
    ...(decision > 0
      ? [{ title: 'LAST DECISION', width: decision, text: (row: TopRow) => row.decision }]
      : []),
  ]);
}

function replicas({ replicas: there, desired }: TopRow): string {
  if (there === undefined) return '-';
  return desired === undefined || desired === there ? String(there) : `${there}→${desired}`;
}

function inside(
  state: TopState,
  { tab, cursor }: NonNullable<TopState['opened']>,
  { detail, rows }: TopData,
  { columns, lines, now }: ScreenFrame,
): string[] {
  const row = rows.find(({ key }) => key === state.opened?.key);
  const name = row ? `${row.name}  (${row.queue})` : 'it is gone';
  const head = [fit(name, columns), tabLine(detail, tab, columns)];
  if (!detail) return [...head, '', '  Reading …'];
  const room = lines - 7;
  if (detail.source) return [...head, ...sourceLines(detail.source, tab, { columns, cursor, room })];
  if (tab === 'workers') {
    if (detail.workers.length === 0) return [...head, '', '  No workers.'];
    return [...head, ...tableLines(workerColumns(columns, detail.workers), detail.workers, cursor, room)];
  }
  if (tab === 'batches') {
    if (detail.batches.length === 0) return [...head, '', '  No batches.'];
    return [...head, ...tableLines(batchColumns(columns), detail.batches, cursor, room)];
  }
  if (tab === 'crons') {
    if (detail.crons.length === 0) return [...head, '', '  No cron tasks.'];
    return [...head, ...tableLines(cronColumns(columns, now), detail.crons, cursor, room)];
  }
  if (tab === 'limits') {
    if (detail.limits.length === 0) return [...head, '', '  No limits.'];
    const several = new Set(detail.limits.map(({ queue }) => queue)).size > 1;
    return [...head, ...tableLines(limitColumns(columns, several, now), detail.limits, cursor, room)];
  }
  if (detail.letters.length === 0) return [...head, '', '  No dead letters.'];
  return [...head, ...tableLines(letterColumns(columns, now), detail.letters, cursor, room)];
}

const TAB_NAMES = {
  workers: 'workers',
  dead: 'dead letters',
  batches: 'batches',
  crons: 'crons',
  limits: 'limits',
} as const;

/** Shorter where the terminal is narrow. */
function tabLine(detail: TopDetail | undefined, open: TopTab, columns: number): string {
  const tabs = tabsOf(detail, open);
  const titles = (names: Record<TopTab, string>, counted: boolean): string[] =>
    tabs.map((tab) => ` ${names[tab]}${detail && counted ? ` ${countIn(detail, tab)}` : ''} `);
  const short = { ...TAB_NAMES, dead: 'dead' };
  const ways = [titles(TAB_NAMES, true), titles(short, true), titles(short, false)];
  const chosen = ways.find((way) => way.join(' ').length <= columns) ?? titles(short, false);
  return chosen.map((title, i) => (tabs[i] === open ? paint('inverse', title) : title)).join(' ');
}

function countIn(detail: TopDetail, tab: TopTab): number {
  const { letters, batchCount, crons, limits } = detail;
  return {
    workers: workersIn(detail).length,
    dead: letters.length,
    batches: batchCount,
    crons: crons.length,
    limits: limits.filter(({ kind }) => kind !== 'key').length,
  }[tab];
}

function sourceLines(
  { workers, notes }: ListedWorkers,
  tab: TopTab,
  { columns, cursor, room }: { readonly columns: number; readonly cursor: number; readonly room: number },
): string[] {
  if (tab === 'dead') return ['', "  The failed tasks of another library: use that library's tools."];
  const said = notes.map((note) => fit(`  ${note}`, columns).trimEnd());
  if (workers.length === 0) return ['', ...(said.length > 0 ? said : ['  No workers.'])];
  const below = said.length > 0 ? ['', ...said] : [];
  return [...tableLines(sourceColumns(columns), workers, cursor, Math.max(1, room - below.length)), ...below];
}

function sourceColumns(columns: number): readonly Column<ListedWorker>[] {
  const rest = columns - 8 - 6 - 7 - 9 - 5 * GAP;
  const id = Math.floor(rest * 0.6);
  return fitting(columns, [
    { title: 'WORKER', width: id, text: (worker) => worker.id },
    { title: 'HOST', width: rest - id, text: ({ host = '-' }) => host },
    {
      title: 'STATE',
      width: 8,
      text: ({ state }) => state,
      colour: ({ state }) => (state === 'silent' ? 'red' : state === 'busy' ? 'green' : undefined),
    },
    { title: 'TASKS', width: 6, right: true, text: (worker) => String(tasksOf(worker)) },
    {
      title: 'IDLE',
      width: 7,
      right: true,
      text: ({ idleMs }) => (idleMs === undefined ? '-' : age(idleMs)),
    },
    { title: 'AS OF', width: 9, text: knownFor },
  ]);
}

type Worker = NonNullable<TopData['detail']>['workers'][number];
type Letter = NonNullable<TopData['detail']>['letters'][number];

function workerColumns(columns: number, workers: readonly Worker[]): readonly Column<Worker>[] {
  const explained = workers.some(({ slotsWhy }) => slotsWhy !== undefined);
  const fixed = [8, 6, 7, 8];
  const rest = columns - fixed.reduce((sum, width) => sum + width + GAP, 0);
  const id = explained ? Math.max(20, Math.floor(rest * 0.4)) : Math.max(20, Math.floor(columns * 0.45));
  return fitting(columns, [
    { title: 'WORKER', width: id, text: (worker) => worker.id },
    {
      title: 'STATE',
      width: 8,
      text: ({ state }) => state,
      colour: ({ state }) => (state === 'lost' ? 'red' : state === 'busy' ? 'green' : undefined),
    },
    { title: 'FLIGHT', width: 6, right: true, text: ({ inFlight, slots }) => `${inFlight}/${slots}` },
    { title: 'AGE', width: 7, right: true, text: ({ ageMs }) => age(ageMs) },
    { title: 'VERSION', width: 8, text: ({ version }) => version },
    ...(explained ? [{ title: 'WHY SO MANY SLOTS', width: Math.max(10, rest - id - GAP), text: whyOf }] : []),
  ]);
}

function whyOf({ slotsWhy = '' }: Worker): string {
  return slotsWhy;
}

function letterColumns(columns: number, now: number): Column<Letter>[] {
  const rest = columns - 7 - 3 - 3 * GAP;
  const id = Math.floor(rest * 0.35);
  return [
    { title: 'AGO', width: 7, right: true, text: ({ at }) => (at === 0 ? '?' : age(now - at)) },
    { title: 'TRY', width: 3, right: true, text: ({ attempts }) => String(attempts) },
    { title: 'TASK', width: id, text: (letter) => letter.id },
    { title: 'ERROR', width: rest - id, text: ({ error }) => error },
  ];
}

function footer(state: TopState, { rows, detail }: TopData, { note, now }: ScreenFrame): string[] {
  const chosen = chosenLine(state, detail, now);
  if (chosen !== undefined) return [note ?? chosen, keys(state, detail)];
  const row = state.opened
    ? rows.find(({ key }) => key === state.opened?.key)
    : visibleRows(state, rows)[cursorOf(state, visibleRows(state, rows))];
  const decision = row?.decision ?? '';
  return [note ?? (decision && `${row?.name}: ${decision}`), keys(state, detail)];
}

function keys({ asking, typing, filter, opened, sort }: TopState, detail: TopDetail | undefined): string {
  if (asking?.how === 'cancel')
    return `Cancel batch ${asking.batch.id}, ${plural(asking.batch.left, 'part')} left? y: yes, any other key: no`;
  if (asking) {
    const { how, letters } = asking;
    const which = letters === 'all' ? 'all dead letters' : `task ${letters[0]?.id ?? ''}`;
    return `${how === 'drop' ? 'Drop' : 'Requeue'} ${which}? y: yes, any other key: no`;
  }
  if (typing) return `filter: ${filter}▏ Enter: keep it, Esc: none`;
  if (!opened) return `↑↓ choose  Enter open  s sort (${sort})  / filter${filter && `: ${filter}`}  q quit`;
  const acts = {
    workers: '',
    dead: '  r requeue  d drop  R D all',
    batches: '  c cancel',
    crons: '',
    limits: '',
  }[opened.tab];
  return `↑↓ choose  Tab ${TAB_NAMES[nextTab(detail, opened.tab)]}${acts}  Esc back  q quit`;
}
