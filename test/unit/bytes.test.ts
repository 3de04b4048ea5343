import { expect, test } from 'vitest';
import { parseBytes } from '../../runtime/bytes.ts';

test.each([
  ['1', 1],
  ['1048576', 1_048_576],
  ['64Ki', 65_536],
  ['16Mi', 16_777_216],
  ['512Mi', 536_870_912],
  ['2k', 2_000],
  ['3M', 3_000_000],
])('%s is %d bytes', (text, size) => expect(parseBytes(text, 2 ** 29)).toBe(size));

test.each(['', '0', '-1', '1.5Mi', '16 MB', '1Gi', '16mi', 'Mi'])(
  '%j is refused with what to write',
  (text) => {
    expect(() => parseBytes(text, 2 ** 29)).toThrow(RangeError);
    expect(() => parseBytes(text, 2 ** 29)).toThrow('such as 16Mi');
  },
);
