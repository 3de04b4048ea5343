/**
 * What a Redis server runs, by MONITOR, on a plain connection: ioredis may take a command that comes with the reply to its own for
 * that reply's successor, and it leaves what is escaped as it is.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { eventually } from './eventually.ts';

export interface MonitoredCommand {
  /** Address of the client, or `lua` for a command inside of the script before it. */
  readonly from: string;
  readonly db: number;
  /** Upper case. */
  readonly name: string;
  readonly args: readonly Buffer[];
}

export interface Monitor extends Disposable {
  /** Since it began, up to the last command that was sent before the call. `client`: of the server's database 0. */
  readonly commands: (client: {
    echo(text: string): Promise<unknown>;
  }) => Promise<readonly MonitoredCommand[]>;
}

/** Resolves when the server reports its commands. */
export async function monitor({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<Monitor> {
  const socket = connect(port, host);
  await once(socket, 'connect');
  let written = '';
  socket.setEncoding('latin1').on('data', (text: string) => (written += text));
  socket.on('error', () => undefined); // the server was killed
  socket.write('MONITOR\r\n');
  await eventually(() => {
    if (!written.startsWith('+OK\r\n')) throw new Error('MONITOR was not answered');
  });
  let marks = 0;
  return {
    commands: async (client) => {
      const mark = `mark ${++marks} of the monitor`;
      await client.echo(mark);
      return eventually(() => {
        const end = written.lastIndexOf(`"${mark}"\r\n`);
        if (end < 0) throw new Error('the monitor has not reported everything yet');
        return written
          .slice(0, end)
          .split('\r\n')
          .slice(1, -1)
          .flatMap(parseLine)
          .filter(({ name }) => name !== 'ECHO');
      });
    },
    [Symbol.dispose]: () => socket.destroy(),
  };
}

/** `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`, in which what is not printable is escaped. */
function parseLine(line: string): MonitoredCommand[] {
  const [, db, from = '', rest = ''] = /^\+\S+ \[(\d+) ([^\]]+)\] (.*)$/.exec(line) ?? [];
  const [name, ...args] = Array.from(rest.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, text = '']) =>
    unescape(text),
  );
  return name ? [{ from, db: Number(db), name: name.toString().toUpperCase(), args }] : [];
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' };

function unescape(text: string): Buffer {
  const plain = text.replaceAll(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex: string | undefined, other: string) =>
    hex === undefined ? (ESCAPES[other] ?? other) : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(plain, 'latin1');
}
