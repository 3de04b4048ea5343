/** Streams of bytes as lines, in batches as they come. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { UsageError } from '../../runtime/program.ts';

/** Opens a file; `of`: what its lines are. Throws `UsageError` if it cannot be read. */
export async function openLines(
  path: string,
  of: string,
): Promise<{ readonly stream: AsyncIterable<Buffer>; readonly bytes: number }> {
  try {
    const about = await stat(path);
    if (about.isDirectory()) throw new Error('it is a directory');
    return { stream: createReadStream(path), bytes: about.size };
  } catch (error) {
    throw new UsageError(`the file of ${of} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** The lines of a stream of bytes, without line feeds and without empty ones. */
export async function* lineBatches(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer[]> {
  for await (const lines of rawLineBatches(stream, '\n')) {
    const tasks = lines.filter((line) => line.length > 0);
    if (tasks.length > 0) yield tasks;
  }
}

/** All lines, empty ones too, without their ends. Text after the last end is a line as well. */
export async function* rawLineBatches(
  stream: AsyncIterable<Buffer>,
  end: '\n' | '\0',
): AsyncGenerator<Buffer[]> {
  const mark = end.charCodeAt(0);
  let rest: Buffer[] = [];
  for await (const chunk of stream) {
    const lines: Buffer[] = [];
    let start = 0;
    for (let at = chunk.indexOf(mark); at >= 0; at = chunk.indexOf(mark, start)) {
      lines.push(Buffer.concat([...rest, chunk.subarray(start, at)]));
      rest = [];
      start = at + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
    if (lines.length > 0) yield lines;
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) yield [last];
}
