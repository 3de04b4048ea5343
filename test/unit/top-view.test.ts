/** The screen of `millrace top` in terminals of any width. */
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { firstState, type TopRow } from '../../cli/top/model.ts';
import { draw } from '../../cli/top/view.ts';

const row: TopRow = {
  key: 'shop/tiles',
  name: 'tiles-of-the-shop',
  queue: 'tiles',
  waiting: 12,
  inFlight: 3,
  delayed: 0,
  dead: 1,
  replicas: 2,
  desired: 4,
  rate: 1.5,
  service: undefined,
  wait: '3s',
  state: 'RedisUnreachable',
  bad: true,
  decision: '2→4: 12 waiting, 3 in flight, 5 tasks a replica',
};

function linesAt(columns: number): string[] {
  const frame = { title: 'namespace default', columns, lines: 8, now: 0, note: '' };
  const data = { rows: [row], detail: undefined };
  return draw(firstState, data, frame).map((line) => stripVTControlCharacters(line).trimEnd());
}

test.each([30, 40, 50, 60, 70, 79, 80, 109, 110, 111, 120, 200, 300])('%i columns are enough', (columns) => {
  expect(linesAt(columns).filter((line) => line.length > columns)).toEqual([]);
});

test.each([
  [40, /^NAME\* +WAITING +REPL +STATE$/, /^tiles-o… +12 +2→4 +RedisUnrea…$/],
  [60, /^NAME\* +WAITING +FLIGHT +REPL +RATE +STATE$/, /^tiles-\S* .* RedisUnrea…$/],
  [80, /^NAME\* +WAITING +FLIGHT +REPL +RATE +WAIT +DEAD +STATE$/, /^tiles-of-the-shop .* RedisUnrea…$/],
  [
    200,
    / STATE +LAST DECISION$/,
    /^tiles-of-the-shop .* RedisUnreachable +2→4: 12 waiting, 3 in flight, 5 tasks a replica$/,
  ],
])('at %i columns, what tells most is left', (columns, head, line) => {
  const [, title, first] = linesAt(columns);
  expect(title).toMatch(head);
  expect(first).toMatch(line);
});
