/** Where progress bars are drawn, and where they are not. */
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { WriteStream } from 'node:tty';
import { expect, test } from 'vitest';
import { progressOn } from '../../cli/terminal/progress.ts';

const stream = (isTTY: boolean): WriteStream =>
  Object.assign(new PassThrough(), { isTTY }) as unknown as WriteStream;

test('a bar is drawn on a terminal, and not on one that shows only plain text, nor in a file', async () => {
  const [terminal, plain, file] = [stream(true), stream(true), stream(false)];
  // begun before the one that is drawn, so that theirs would have been drawn by then
  using _plain = progressOn(plain, 'dumb')('moved', 4, 'rate');
  using _unset = progressOn(plain, undefined)('moved', 4, 'rate');
  using _file = progressOn(file, 'xterm')('moved', 4, 'rate');
  using drawn = progressOn(terminal, 'xterm')('moved', 4);
  drawn.add(1);
  let text = '';
  terminal.on('data', (bytes: Buffer) => (text += bytes.toString()));
  while (!text.includes('25 %')) await once(terminal, 'data');
  expect(plain.read()).toBeNull();
  expect(file.read()).toBeNull();
});
