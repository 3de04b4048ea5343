/** The scanner beside ioredis's own decoder: of any bytes in any pieces both see the same replies, or the scanner refuses them. */
import { createRequire } from 'node:module';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  createReplyScanner,
  replyLimits,
  ReplyRefused,
  type ReplyFrame,
} from '../../queue/connection/reply-scanner.ts';

interface Decoder {
  write(chunk: Buffer): void;
}
type DecoderClass = new (options: {
  getTypeMapping(): object;
  onReply(reply: unknown): void;
  onErrorReply(error: Error): void;
  onPush(reply: unknown): void;
}) => Decoder;

const { Decoder } = createRequire(import.meta.url)('ioredis/built/resp/decoder.js') as {
  Decoder: DecoderClass;
};

/** Replies as ioredis decodes them, each as what the scanner is to say of it. */
function decoded(chunks: readonly Buffer[]): string[] {
  const replies: string[] = [];
  const decoder = new Decoder({
    // bulk strings and statuses as Buffers, as ioredis has them
    getTypeMapping: () => ({ 36: Buffer, 43: Buffer }),
    onReply: (reply) => void replies.push(formOf(reply)),
    onErrorReply: () => void replies.push('error'),
    onPush: () => void replies.push('push'),
  });
  for (const chunk of judged(chunks)) decoder.write(chunk);
  return replies;
}

/** The bytes as the guard hands them on. */
function judged(chunks: readonly Buffer[]): Buffer[] {
  const scan = createReplyScanner({ limits: () => replyLimits, onFrame: () => {} });
  let held = Buffer.alloc(0);
  return chunks.flatMap((chunk) => {
    scan(chunk);
    const whole = Buffer.concat([held, chunk]);
    const end = whole.length - scan.unfinished();
    held = whole.subarray(end);
    return end > 0 ? [whole.subarray(0, end)] : [];
  });
}

function formOf(reply: unknown): string {
  if (Array.isArray(reply)) return `array of ${reply.length}`;
  return reply === null ? 'nil' : typeof reply === 'number' ? `integer ${reply}` : 'text';
}

function scanned(chunks: readonly Buffer[]): string[] {
  const frames: string[] = [];
  const onFrame = ({ type, nil, value, length }: ReplyFrame): void => {
    if (nil) frames.push('nil');
    else if (type === 'array') frames.push(`array of ${length}`);
    else if (type === 'integer') frames.push(`integer ${value}`);
    else frames.push(type === 'error' ? 'error' : 'text');
  };
  const scan = createReplyScanner({ limits: () => replyLimits, onFrame });
  for (const chunk of chunks) scan(chunk);
  return frames;
}

function pieces(whole: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set([0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length])].toSorted(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, i) => whole.subarray(at[i], end));
}

const line = fc.string({ maxLength: 20 }).map((text) => text.replaceAll(/[\r\n]/g, ' '));
const { reply } = fc.letrec<{ reply: string }>((tie) => ({
  reply: fc.oneof(
    { maxDepth: 4 },
    fc.integer().map((value) => `:${value}\r\n`),
    line.map((text) => `+${text}\r\n`),
    fc.string({ maxLength: 60 }).map((text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`),
    fc.constantFrom('$-1\r\n', '*-1\r\n', '*0\r\n', '$0\r\n\r\n'),
    fc.array(tie('reply'), { maxLength: 5 }).map((parts) => `*${parts.length}\r\n${parts.join('')}`),
  ),
}));
const top = fc.oneof(
  reply,
  line.map((text) => `-ERR ${text}\r\n`),
);
const cuts = fc.array(fc.nat(10_000), { maxLength: 12 });

test('the replies of a server, in any pieces', () => {
  fc.assert(
    fc.property(fc.array(top, { maxLength: 8 }), cuts, (replies, where) => {
      const chunks = pieces(Buffer.from(replies.join('')), where).filter(({ length }) => length > 0);
      expect(scanned(chunks)).toEqual(decoded(chunks));
      expect(scanned(chunks)).toHaveLength(replies.length);
    }),
  );
});

test('changed bytes: the same replies, or none', () => {
  const change = fc.tuple(fc.nat(10_000), fc.constantFrom(...Buffer.from('*$:+-\r\n0123456789xX>%_#')));
  fc.assert(
    fc.property(fc.array(top, { minLength: 1, maxLength: 4 }), change, cuts, (replies, [at, byte], where) => {
      const whole = Buffer.from(replies.join(''));
      whole[at % whole.length] = byte;
      const chunks = pieces(whole, where).filter(({ length }) => length > 0);
      let frames: string[];
      try {
        frames = scanned(chunks);
      } catch (error) {
        expect(error).toBeInstanceOf(ReplyRefused);
        return;
      }
      expect(frames).toEqual(decoded(chunks));
    }),
    { numRuns: 500 },
  );
});

test.each([
  ['what a bulk announces', '$1048577\r\n'],
  ['what an array announces', '*32768\r\n'],
  ['what arrays in arrays announce', '*20000\r\n*20000\r\n'],
  ['how deep they are', '*1\r\n'.repeat(9)],
])('refused for %s, before it is there', (_, bytes) =>
  expect(() => scanned([Buffer.from(bytes)])).toThrow(expect.objectContaining({ kind: 'TooLarge' })),
);
