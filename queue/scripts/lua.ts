/**
 * The scripts' sources by name. In development they are read from the `.lua` files beside this one; the bundler
 * replaces this module with the same object, so that a bundle is one file. In the worker's image, a source is only the name of a script, and
 * its text is read from a file whenever it is sent (scripts/bundle-lua.ts).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const BATCHES = ['batch/numbered', 'batch/batches'];
const ONCE = 'shared/once';
const LEASES = ['shared/lease-time', 'shared/lease-over'];

/**
 * The files of each script that is not one beside this file under its own name: they are joined in this order, and see the locals of those
 * before them.
 */
const PARTS = {
  turn: [
    'shared/tally',
    'shared/pasts',
    'shared/fingerprint',
    'shared/lease-time',
    'turn/turn',
    ...BATCHES,
    'unique/unique',
    'limits/slots',
    'turn/limits',
    'turn/checks',
    'turn/parts',
    'turn/rare',
    'turn/suspects',
    'turn/main',
  ],
  adopt: ['shared/tally', 'workers/adopt'],
  register: ['shared/lease-time', 'shared/server-run', 'workers/register'],
  note: ['shared/server-run', 'workers/note'],
  renew: ['shared/lease-time', 'workers/renew'],
  rest: ['shared/lease-time', 'workers/rest'],
  claim: ['unique/unique', 'workers/claim'],
  overdue: [...LEASES, 'workers/overdue'],
  reap: [ONCE, 'shared/tally', 'shared/pasts', ...LEASES, 'limits/slots', 'workers/reap'],
  rejoin: ['shared/pasts', 'workers/rejoin'],
  drain: ['workers/drain'],
  'list-workers': ['workers/list-workers'],
  store: ['shared/fingerprint', 'store'],
  sweep: ['shared/fingerprint', ...BATCHES, 'sweep'],
  sample: ['limits/slots', 'limits/survey', 'sample'],
  cancel: [ONCE, 'cancel'],
  resume: [ONCE, 'resume'],
  heads: ['shared/entry-digest', 'dead/heads'],
  letter: [ONCE, ...BATCHES, 'unique/unique', 'shared/pasts', 'dead/reprieve', 'dead/fit', 'dead/letter'],
  move: [
    ONCE,
    ...BATCHES,
    'unique/unique',
    'shared/pasts',
    'dead/reprieve',
    'dead/fit',
    'shared/entry-digest',
    'dead/move',
  ],
  ask: ['sources/ask'],
  celery: ['sources/celery'],
  'celery-ask': ['sources/celery-ask'],
  'limit-set': [ONCE, 'limits/slots', 'limits/set'],
  'limit-count': ['limits/slots', 'limits/count'],
  'limit-return': ['shared/pasts', 'limits/slots', 'limits/return'],
  'limit-show': ['limits/slots', 'limits/survey', 'limits/show'],
  'batch-add': [...BATCHES, 'batch/add'],
  'batch-cancel': [ONCE, ...BATCHES, 'batch/cancel'],
  'batch-tend': [...BATCHES, 'batch/tend'],
  'batch-list': ['batch/list'],
  'batch-share': [...BATCHES, 'batch/share'],
  'batch-report': [...BATCHES, 'batch/report'],
  'batch-reported': ['batch/reported'],
  'move-hold': ['move/hold'],
  'move-out': ['shared/pasts', 'move/out'],
  'move-in': ['shared/pasts', 'shared/in-parts', 'move/in'],
  'move-rest': ['move/rest'],
  'move-page': ['move/page'],
  'move-keep': ['shared/fingerprint', 'move/keep'],
  'move-drop': ['shared/fingerprint', 'move/drop'],
  'move-unlock': ['move/unlock'],
  'move-close': ['move/close'],
  'move-decisions': ['move/decisions'],
  'move-back': [ONCE, 'shared/pasts', 'shared/in-parts', 'move/back'],
};

const read = (...path: string[]): string => readFileSync(join(import.meta.dirname, ...path), 'utf8');

export const sources: Record<string, string> = Object.fromEntries([
  ...readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith('.lua'))
    .map((file) => [basename(file, '.lua'), read(file)]),
  ...Object.entries(PARTS).map(([name, parts]) => [
    name,
    parts.map((part) => read(`${part}.lua`)).join('\n'),
  ]),
]);

/** The text of a source. */
export const textOf = (source: string): string => source;
