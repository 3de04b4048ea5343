/** What a process was at, as the next one reads it. */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openJournal, poolsIn } from '../../controller/process/journal.ts';
import type { Watchdog } from '../../controller/process/watchdog.ts';

const folder = (): ReturnType<typeof mkdtempDisposable> =>
  mkdtempDisposable(join(tmpdir(), 'millrace-journal-'));

test('has what was begun and not ended; of synchronous work, only that', async () => {
  await using place = await folder();
  const journal = openJournal(place.path);
  expect(journal.left).toEqual([]);
  const ended = journal.begin('ns/a');
  journal.begin('ns/b');
  journal.begin('ns/b');
  journal.begin('ns/a-pool-with-a-longer-name');
  ended();
  // nobody closes it: as after a kill
  const next = openJournal(place.path);
  expect(next.left.toSorted()).toEqual(['ns/a-pool-with-a-longer-name', 'ns/b']);
  next.begin('ns/c');
  const seen = next.during('ns/ä', () => ({
    file: openJournal(place.path).left,
    memory: poolsIn(next.slots),
  }));
  expect(seen).toEqual({ file: ['ns/ä'], memory: ['ns/ä'] });
});

test('after an end in good order nothing is left, and work that throws has ended', async () => {
  await using place = await folder();
  {
    using journal = openJournal(place.path);
    journal.begin('ns/a');
    expect(() => journal.during('ns/b', () => JSON.parse('{'))).toThrow(SyntaxError);
    expect(poolsIn(journal.slots)).toEqual(['ns/a']);
  }
  expect(openJournal(place.path).left).toEqual([]);
});

test('more at a time than there is room for, names of any length, and no folder', () => {
  const journal = openJournal(undefined);
  const ends = Array.from({ length: 300 }, (_, i) => journal.begin(`ns/${i}${'x'.repeat(600)}`));
  expect(poolsIn(journal.slots)).toHaveLength(127);
  for (const end of ends) end();
  expect(poolsIn(journal.slots)).toEqual([]);
});

test('what processes nothing new is recorded, and not watched', () => {
  const watched: string[] = [];
  const watchdog: Watchdog = {
    watch: (pool, work) => {
      watched.push(pool);
      return work();
    },
  };
  using journal = openJournal(undefined, watchdog);
  const slots = (): string[] => poolsIn(journal.slots);
  expect(journal.during('ns/a', slots, 'seen')).toEqual(['ns/a']);
  expect(journal.during('ns/b', slots)).toEqual(['ns/b']);
  expect(watched).toEqual(['ns/b']);
});
