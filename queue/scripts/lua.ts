/**
 * The scripts' sources by name. In development they are read from the `.lua` files beside this one; the bundler
 * replaces this module with the same object, so that a bundle is one file. In the worker's image, a source is only the name of a script, and
 * its text is read from a file whenever it is sent (scripts/bundle-lua.ts).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const BATCHES = ['batch/numbered', 'batch/batches'];
const LEASES = ['shared/lease-time', 'shared/lease-over'];

/** The files of a script that stands in several: they are joined in this order, and see the locals of those before them. */
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
  adopt: ['shared/tally', 'adopt'],
  register: ['shared/lease-time', 'register'],
  renew: ['shared/lease-time', 'renew'],
  rest: ['shared/lease-time', 'rest'],
  overdue: [...LEASES, 'overdue'],
  reap: ['shared/tally', 'shared/pasts', ...LEASES, 'limits/slots', 'reap'],
  rejoin: ['shared/pasts', 'rejoin'],
  store: ['shared/fingerprint', 'store'],
  sample: ['limits/slots', 'limits/survey', 'sample'],
  'limit-set': ['limits/slots', 'limits/set'],
  'limit-count': ['limits/slots', 'limits/count'],
  'limit-return': ['shared/pasts', 'limits/slots', 'limits/return'],
  'limit-show': ['limits/slots', 'limits/survey', 'limits/show'],
  heads: ['shared/entry-digest', 'heads'],
  letter: [...BATCHES, 'unique/unique', 'shared/pasts', 'dead/reprieve', 'letter'],
  move: [...BATCHES, 'unique/unique', 'shared/pasts', 'dead/reprieve', 'shared/entry-digest', 'move'],
  'move-out': ['shared/pasts', 'move-out'],
  'move-in': ['shared/pasts', 'shared/in-parts', 'move-in'],
  'move-back': ['shared/pasts', 'shared/in-parts', 'move-back'],
  'move-keep': ['shared/fingerprint', 'move-keep'],
  'move-drop': ['shared/fingerprint', 'move-drop'],
  claim: ['unique/unique', 'claim'],
  sweep: ['shared/fingerprint', ...BATCHES, 'sweep'],
  'batch-add': [...BATCHES, 'batch/add'],
  'batch-cancel': [...BATCHES, 'batch/cancel'],
  'batch-tend': [...BATCHES, 'batch/tend'],
  'batch-list': ['batch/list'],
  'batch-share': [...BATCHES, 'batch/share'],
  'batch-report': [...BATCHES, 'batch/report'],
  'batch-reported': ['batch/reported'],
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
