/**
 * A Redis that replies what a test tells it to: a double of a tenant's server, whose replies may be anything. Other commands
 * of the controller get the replies of an empty Redis.
 */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

export interface Lie {
  /** What is sent once. */
  readonly bytes?: string;
  /** What is sent again and again after that, until the connection ends. */
  readonly forever?: string;
  /** Why a guarded connection refuses it; absent where it is an answer, or none. */
  readonly refused?: 'TooLarge' | 'Malformed';
}

export interface LyingRedis extends AsyncDisposable {
  readonly address: { readonly url: string };
  readonly port: number;
  /** By command in lower case; `eval` is asked for a script. */
  tell(lies: Readonly<Record<string, Lie>>): void;
  /** Sends this to all subscribers. */
  publish(bytes: string): void;
  asked(command: string): number;
  /** Connections opened, and bytes accepted by the kernel, since its start. */
  readonly connections: number;
  readonly sent: number;
}

const nested = (depth: number): string => '*1\r\n'.repeat(depth);
const error = (bytes: number): string => `-ERR ${'x'.repeat(bytes)}\r\n`;
const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

/** Replies to any command. */
export const REPLIES: Readonly<Record<string, Lie>> = {
  'a bulk of 512 MB': { bytes: '$536870912\r\n', forever: 'x'.repeat(65_536), refused: 'TooLarge' },
  'a bulk of 2 MB': { bytes: `$2097152\r\n${'x'.repeat(2_097_152)}\r\n`, refused: 'TooLarge' },
  'a bulk of more than any number': { bytes: '$99999999999999999999\r\n', refused: 'TooLarge' },
  'a bulk that announces only': { bytes: '$1048577\r\n', refused: 'TooLarge' },
  'a bulk of negative length': { bytes: '$-5\r\n', refused: 'Malformed' },
  'a bulk without a number': { bytes: '$abc\r\n', refused: 'Malformed' },
  'a bulk that is longer than it said': { bytes: '$1\r\nlonger\r\n', refused: 'Malformed' },
  'an array of 30 million': { bytes: '*30000000\r\n', refused: 'TooLarge' },
  'an array of 5 billion': { bytes: '*5000000000\r\n', refused: 'TooLarge' },
  'an array without end': {
    bytes: '*32000\r\n',
    forever: '$2\r\nxx\r\n'.repeat(1_000),
    refused: 'TooLarge',
  },
  'an array of long texts': { bytes: '*20\r\n', forever: bulk('x'.repeat(60_000)), refused: 'TooLarge' },
  'arrays in arrays in arrays': { bytes: nested(200_000), refused: 'TooLarge' },
  'wide arrays in wide arrays': { bytes: '*30000\r\n'.repeat(7), refused: 'TooLarge' },
  'an error of 5 MB': { bytes: error(5_000_000), refused: 'TooLarge' },
  'an error that never ends': { bytes: '-ERR ', forever: 'x'.repeat(65_536), refused: 'TooLarge' },
  'a status of 1 MB': { bytes: `+${'x'.repeat(1_000_000)}\r\n`, refused: 'TooLarge' },
  'an integer of a thousand digits': { bytes: `:${'9'.repeat(1_000)}\r\n`, refused: 'Malformed' },
  'two replies to one command': { bytes: ':0\r\n:0\r\n', refused: 'Malformed' },
  'a null that nobody asked for': { bytes: ':0\r\n$-1\r\n', refused: 'Malformed' },
  'half a null that nobody asked for': { bytes: ':0\r\n$-' },
  'replies without end': { bytes: ':0\r\n', forever: ':0\r\n'.repeat(10_000), refused: 'Malformed' },
  'a push of RESP3': { bytes: '>2\r\n$10\r\ninvalidate\r\n_\r\n', refused: 'Malformed' },
  'a push without a kind': { bytes: '>1\r\n_\r\n', refused: 'Malformed' },
  'a map of RESP3': { bytes: '%1\r\n+a\r\n+b\r\n', refused: 'Malformed' },
  'no RESP': { bytes: 'HTTP/1.1 400 Bad Request\r\n\r\n', refused: 'Malformed' },
  'a line feed alone': { bytes: '+OK\n:0\r\nx', refused: 'Malformed' },
  'a null': { bytes: '$-1\r\n' },
  'a null array': { bytes: '*-1\r\n' },
  'an empty array': { bytes: '*0\r\n' },
  'an array of nulls': { bytes: '*2\r\n$-1\r\n*-1\r\n' },
  'a text': { bytes: bulk('text') },
  'a negative integer': { bytes: ':-7\r\n' },
  'an integer beyond all counting': { bytes: ':9223372036854775807\r\n' },
  'an error without a word': { bytes: '-\r\n' },
  'an error of control characters': { bytes: '-\u001B[2J\u0000\u202E\r\n' },
};

/** What comes to a connection that has subscribed. */
export const MESSAGES: Readonly<Record<string, string>> = {
  'an integer': '*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n:7\r\n',
  'a text': '*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$1\r\nq\r\n',
  'a null': '*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n',
  'a list of integers': '*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n:1\r\n',
  'a list of nulls': '*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$-1\r\n',
  'without a channel': '*1\r\n$7\r\nmessage\r\n',
  'without keys': '*2\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n',
  'of a null channel': '*3\r\n$7\r\nmessage\r\n$-1\r\n*1\r\n$1\r\nq\r\n',
  'of an integer channel': '*3\r\n$7\r\nmessage\r\n:1\r\n*1\r\n$1\r\nq\r\n',
  'an empty array': '*0\r\n',
  'an array of null': '*1\r\n$-1\r\n',
  'a null array': '*-1\r\n',
  'a pattern message': '*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\nq\r\n',
  'a short pattern message': '*1\r\n$8\r\npmessage\r\n',
  'a subscription that nobody made': '*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:2\r\n',
  'a subscription of null': '*3\r\n$9\r\nsubscribe\r\n$-1\r\n:2\r\n',
  'the end of the subscription': '*3\r\n$11\r\nunsubscribe\r\n$20\r\n__redis__:invalidate\r\n:0\r\n',
  'of a million keys': `*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1000000\r\n`,
};

/** What an empty Redis answers. */
function honest(command: string, args: readonly string[], subscribed: boolean): string {
  const [first = ''] = args;
  if (command === 'info') return bulk('role:master\r\nloading:0\r\n');
  if (command === 'client') return { ID: ':7\r\n', GETNAME: '$-1\r\n' }[first.toUpperCase()] ?? '+OK\r\n';
  if (command === 'ping') return subscribed ? '*2\r\n$4\r\npong\r\n$0\r\n\r\n' : '+PONG\r\n';
  if (command === 'subscribe') return `*3\r\n$9\r\nsubscribe\r\n${bulk(first)}:1\r\n`;
  if (command === 'unsubscribe') return `*3\r\n$11\r\nunsubscribe\r\n${bulk(first)}:0\r\n`;
  if (command === 'llen' || command === 'zcard') return ':0\r\n';
  if (command === 'eval' || command === 'evalsha') return emptySample(Number(args[1]));
  return '+OK\r\n';
}

/** sample.lua has eleven keys; what other scripts would return, it does not know. */
function emptySample(keys: number): string {
  if (keys !== 11) return '*0\r\n';
  const nulls = (count: number): string => `*${count}\r\n${'$-1\r\n'.repeat(count)}`;
  const zeros = (count: number): string => ':0\r\n'.repeat(count);
  const head = `*19\r\n:${Date.now()}\r\n:0\r\n+none\r\n${zeros(2)}$0\r\n\r\n${zeros(5)}`;
  return `${head}${nulls(8)}${zeros(4)}${nulls(32)}$0\r\n\r\n:0\r\n`;
}

/** Listens on a free port of the loopback. */
export async function startLyingRedis(): Promise<LyingRedis> {
  const sockets = new Set<Socket>();
  const subscribers = new Set<Socket>();
  const asked = new Map<string, number>();
  let lies: Readonly<Record<string, Lie>> = {};
  let connections = 0;
  let ended = 0;

  function answer(socket: Socket, [name = '', ...args]: readonly string[]): void {
    const command = name.toLowerCase();
    asked.set(command, (asked.get(command) ?? 0) + 1);
    const lie = lies[command] ?? (command === 'evalsha' ? lies['eval'] : undefined);
    if (!lie) {
      if (command === 'subscribe') subscribers.add(socket);
      if (command === 'unsubscribe') subscribers.delete(socket);
      socket.write(honest(command, args, subscribers.has(socket)));
      return;
    }
    if (lie.bytes) socket.write(lie.bytes);
    const { forever } = lie;
    if (!forever) return;
    const more = (): void => {
      while (socket.writable && socket.write(forever));
    };
    socket.on('drain', more);
    more();
  }

  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    const read = commandReader((command) => answer(socket, command));
    socket.on('data', read);
    socket.on('error', () => {});
    socket.on('close', () => {
      ended += socket.bytesWritten - socket.writableLength;
      sockets.delete(socket);
      subscribers.delete(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    address: { url: `redis://127.0.0.1:${port}` },
    tell: (what) => void (lies = what),
    publish: (bytes) => {
      for (const socket of subscribers) socket.write(bytes);
    },
    asked: (command) => asked.get(command) ?? 0,
    get connections() {
      return connections;
    },
    get sent() {
      return [...sockets].reduce((sum, socket) => sum + socket.bytesWritten - socket.writableLength, ended);
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Commands as clients write them: arrays of bulk strings. */
function commandReader(onCommand: (command: readonly string[]) => void): (chunk: Buffer) => void {
  let pending = Buffer.alloc(0);
  return (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    for (let command = next(); command; command = next()) onCommand(command);
  };

  function next(): string[] | undefined {
    let at = 0;
    const line = (): string | undefined => {
      const end = pending.indexOf('\r\n', at);
      if (end < 0) return undefined;
      const text = pending.toString('latin1', at, end);
      at = end + 2;
      return text;
    };
    const count = Number(line()?.slice(1));
    if (!(count >= 0)) return undefined;
    const words: string[] = [];
    for (let i = 0; i < count; i++) {
      const length = Number(line()?.slice(1));
      if (!(at + length + 2 <= pending.length)) return undefined;
      words.push(pending.toString('utf8', at, at + length));
      at += length + 2;
    }
    pending = pending.subarray(at);
    return words;
  }
}
