/**
 * The scripts' sources by name. In development they are read from the `.lua` files beside this one; the bundler
 * replaces this module with the same object, so that a bundle is one file.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** The files of a script that stands in several: they are joined in this order, and see the locals of those before them. */
const PARTS = {
  turn: [
    'turn/turn',
    'batch/numbered',
    'batch/batches',
    'unique/unique',
    'limits/slots',
    'turn/limits',
    'turn/checks',
    'turn/parts',
    'turn/rare',
    'turn/suspects',
    'turn/main',
  ],
  reap: ['limits/slots', 'reap'],
  sample: ['limits/slots', 'limits/survey', 'sample'],
  'limit-set': ['limits/slots', 'limits/set'],
  'limit-count': ['limits/slots', 'limits/count'],
  'limit-return': ['limits/slots', 'limits/return'],
  'limit-show': ['limits/slots', 'limits/survey', 'limits/show'],
  letter: ['batch/numbered', 'batch/batches', 'unique/unique', 'dead/reprieve', 'letter'],
  move: ['batch/numbered', 'batch/batches', 'unique/unique', 'dead/reprieve', 'move'],
  claim: ['unique/unique', 'claim'],
  sweep: ['batch/numbered', 'batch/batches', 'sweep'],
  'batch-add': ['batch/numbered', 'batch/batches', 'batch/add'],
  'batch-cancel': ['batch/numbered', 'batch/batches', 'batch/cancel'],
  'batch-tend': ['batch/numbered', 'batch/batches', 'batch/tend'],
  'batch-list': ['batch/list'],
  'batch-share': ['batch/numbered', 'batch/batches', 'batch/share'],
  'batch-report': ['batch/numbered', 'batch/batches', 'batch/report'],
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
