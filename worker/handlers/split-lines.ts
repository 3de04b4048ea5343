/** Splits a stream of bytes into lines of limited length, independent of chunk boundaries. */

export interface LineSplitter {
  /** Takes the next chunk; calls back for each line that it completes. */
  push(chunk: Buffer): void;
  /** The stream has ended: emits a last line without a line feed. */
  end(): void;
}

/**
 * `onLine` receives each line without its `\n` or `\r\n`. `onLong` receives the first `maxBytes` bytes of a longer line, once; the
 * rest of it is dropped.
 */
export function splitLines(
  maxBytes: number,
  onLine: (line: Buffer) => void,
  onLong: (start: Buffer) => void,
): LineSplitter {
  let parts: Buffer[] = [];
  let size = 0;
  let dropping = false;

  const add = (part: Buffer): void => {
    if (dropping || part.length === 0) return;
    parts.push(part);
    size += part.length;
    if (size <= maxBytes) return;
    dropping = true;
    onLong(Buffer.concat(parts, maxBytes));
    parts = [];
  };

  const finish = (): void => {
    const line = parts.length === 1 ? parts[0] : Buffer.concat(parts, size);
    const dropped = dropping;
    parts = [];
    size = 0;
    dropping = false;
    if (!dropped && line) onLine(line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line);
  };

  return {
    push(chunk) {
      let start = 0;
      for (let end = chunk.indexOf('\n'); end !== -1; end = chunk.indexOf('\n', start)) {
        add(chunk.subarray(start, end));
        finish();
        start = end + 1;
      }
      add(chunk.subarray(start));
    },
    end() {
      if (size > 0) finish();
    },
  };
}

const CARRIAGE_RETURN = 0x0d;
