/** The file of `millrace map --resume`: what it gives back, and what it refuses. */
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openJournal } from '../../cli/map/journal.ts';
import type { Done, Line } from '../../cli/map/lines.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-journal-'));
  path = join(folder, 'run.log');
});
afterEach(() => rm(folder, { recursive: true }));

const line = (number: number, text = `line ${number}`): Line => ({ number, bytes: Buffer.from(text) });
const done = (number: number, result: string | Buffer): Done => ({
  line: line(number),
  outcome: Buffer.from(result),
  recalled: false,
});

async function keep(...batch: Done[]): Promise<void> {
  await using journal = await openJournal(path);
  await journal.add(batch);
}

test('results are given back, byte for byte, whatever the order', async () => {
  const binary = Buffer.from([0xff, 0x00, 0x0a, 0xfe]);
  await keep(done(5_000, 'five\nthousand'), done(1, ''), done(2, binary));
  await keep(done(3, 'ä'));
  await using journal = await openJournal(path);
  expect(journal.size).toBe(4);
  const recalled = await Promise.all([1, 2, 3, 4, 5_000].map((number) => journal.recall(line(number))));
  expect(recalled).toEqual([
    Buffer.alloc(0),
    binary,
    Buffer.from('ä'),
    undefined,
    Buffer.from('five\nthousand'),
  ]);
});

test('failures, and what was recalled, are not kept', async () => {
  await keep(
    { line: line(1), outcome: new Error('no'), recalled: false },
    { ...done(2, 'b'), recalled: true },
  );
  await using journal = await openJournal(path);
  expect(journal.size).toBe(0);
});

test('half a line of a crash is removed, wherever the crash cut it', async () => {
  await keep(done(1, 'a'), done(2, 'b'));
  const whole = await readFile(path);
  const second = whole.lastIndexOf('\n', whole.length - 2) + 1;
  for (let cut = 0; cut < whole.length; cut++) {
    await writeFile(path, whole.subarray(0, cut));
    await keep(done(3, 'c'));
    await using journal = await openJournal(path);
    expect(await journal.recall(line(3))).toEqual(Buffer.from('c'));
    expect(await journal.recall(line(1))).toEqual(cut >= second ? Buffer.from('a') : undefined);
    expect(await journal.recall(line(2))).toBeUndefined();
  }
});

test('another line of that number is refused', async () => {
  await keep(done(1, 'a'));
  await using journal = await openJournal(path);
  await expect(journal.recall(line(1, 'other'))).rejects.toThrow(
    `line 1 of the input is not the one whose result is in ${path}: give the same input, or another file to --resume`,
  );
});

test.each([
  ['any other file', 'hello\n', 'is no file of millrace map --resume'],
  [
    'one of another version',
    '{"format":"millrace-map","version":2}\n',
    'is no file of millrace map --resume',
  ],
])('%s is refused, and stays as it is', async (_, text, message) => {
  await writeFile(path, text);
  await expect(openJournal(path)).rejects.toThrow(message);
  expect(await readFile(path, 'utf8')).toBe(text);
});

test.each([['note to self'], ['{"line":99999999999,"of":"x","result":""}']])(
  'a line that is not of ours is named: %s',
  async (text) => {
    await keep(done(1, 'a'));
    await appendFile(path, `${text}\n`);
    await expect(openJournal(path)).rejects.toThrow('has a line that millrace map did not write');
  },
);

test('a folder is no file', async () => {
  await expect(openJournal(folder)).rejects.toThrow('the file of --resume cannot be opened: EISDIR');
});

test('a device is no file', async () => {
  await expect(openJournal('/dev/null')).rejects.toThrow(
    /\/dev\/null is no file that results can be kept in/,
  );
});

test('one run at a time uses it', async () => {
  {
    await using _first = await openJournal(path);
    await expect(openJournal(path)).rejects.toThrow(/run\.log is in use by another millrace map/);
  }
  await using journal = await openJournal(path);
  expect(journal.size).toBe(0);
});

test.each([
  '"result":"a',
  '"result":7',
  '"result":null',
  '"result":{"a":1}',
  '"result":["a"]',
  '"base64":7',
  '"resalt":"a"',
])('a line that somebody has changed is told from a result: %s', async (changed) => {
  await keep(done(1, 'a'), done(2, 'b'));
  await writeFile(path, (await readFile(path, 'utf8')).replace('"result":"a"', changed));
  await using journal = await openJournal(path);
  await expect(journal.recall(line(1))).rejects.toThrow(/has a line that millrace map did not write/);
  expect(await journal.recall(line(2))).toEqual(Buffer.from('b'));
});
