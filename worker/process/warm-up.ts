/**
 * Part of the build of the worker's image: runs the worker until it has done two tasks and left, so that the code which V8 compiled
 * for that is kept (launch.ts). There is no Redis at that time; this stands in for one and gives the answers of a server on which
 * the worker is alone. Exits with 1 if the worker did not get that far.
 *
 * `node [flags of V8] warm-up.js`, with the worker beside it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { arity } from '../../queue/scripts/arity.ts';
import { sleep } from '../../runtime/timers.ts';

const TIMEOUT_MS = 60_000;
const EPOCH = 1_700_000_000_000_001;
const OK = '+OK\r\n';
const NIL = '_\r\n';

const int = (value: number): string => `:${value}\r\n`;
const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
const list = (items: readonly string[]): string => `*${items.length}\r\n${items.join('')}`;

/** The first task waits in the queue, the second one comes while the worker is idle. */
const tasks = ['{"warm":1}', '{"warm":2}'];
/** How many of them have come, and have results. */
let come = 1;
let settled = 0;
let receipts = 0;
const { promise: done, resolve: finish } = Promise.withResolvers<void>();

/** The reply of turn.lua: a task without a result is given with every turn, since the worker may hand it back or miss the reply. */
function turn(args: readonly string[]): string {
  const packed = args.join(' ');
  while (settled < come && packed.includes(`{"done":${settled + 1}}`)) settled++;
  if (settled === tasks.length) finish();
  const raws = tasks.slice(settled, come).map(bulk);
  const first = receipts + 1;
  receipts += raws.length;
  const now = int(Date.now());
  return list([
    int(1),
    now,
    int(0),
    int(0),
    int(first),
    list(raws),
    list([]),
    int(-1),
    int(0),
    int(0),
    now,
    int(0),
    int(0),
  ]);
}

/** The reply of a script, which is known by its number of keys; those of the others are not used. */
function run(keys: number, args: readonly string[]): string {
  if (keys === arity.turn) return turn(args);
  if (keys === arity.reap) return list([int(0), int(0)]);
  if (keys === arity.register) return int(EPOCH);
  return int(0);
}

/** Answers a command, immediately or later. */
function answer([name = '', first = '', ...rest]: readonly string[], send: (reply: string) => void): void {
  switch (name.toLowerCase()) {
    case 'hello':
      return send(`%1\r\n${bulk('proto')}${int(3)}`);
    case 'info':
      return send(bulk('role:master\r\nloading:0\r\n'));
    case 'client':
      return send(/^id$/i.test(first) ? int(1) : /^getname$/i.test(first) ? bulk('') : OK);
    case 'hmget':
      return send(list(rest.map(() => NIL)));
    case 'zscore':
      return send(NIL);
    case 'eval':
    case 'evalsha':
      return send(run(Number(rest[0]), rest));
    case 'blmove':
      // the second task comes after a while, and then no other
      if (settled === 1 && come === 1)
        void sleep(100).then(() => {
          come = 2;
          send(bulk(tasks[1] ?? ''));
        });
      return undefined;
    case 'quit':
      return send(OK);
    default:
      return send(int(0));
  }
}

/** Reads commands, which are lists of texts, and answers each. */
function serve(socket: Socket): void {
  let unread = '';
  socket.setEncoding('latin1').on('error', () => socket.destroy());
  socket.on('data', (chunk: string) => {
    unread += chunk;
    for (let command = take(); command; command = take())
      answer(command, (reply) => void socket.write(reply));
  });
  /** The first command, unless a part of it is still to come. */
  function take(): string[] | undefined {
    const head = /^\*(\d+)\r\n/.exec(unread);
    if (!head) return undefined;
    let at = head[0].length;
    const parts: string[] = [];
    for (let left = Number(head[1]); left > 0; left--) {
      const line = /^\$(\d+)\r\n/.exec(unread.slice(at, at + 20));
      if (!line) return undefined;
      const start = at + line[0].length;
      at = start + Number(line[1]) + 2;
      if (at > unread.length) return undefined;
      parts.push(unread.slice(start, at - 2));
    }
    unread = unread.slice(at);
    return parts;
  }
}

async function warmUp(): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-warm-up-'));
  const server = createServer(serve).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const module = join(folder, 'handler.mjs');
  writeFileSync(module, 'export default ({ warm }) => ({ done: warm });\n');
  const args = [...process.execArgv, join(import.meta.dirname, 'worker.js')];
  const flags = ['--redis', `redis://127.0.0.1:${port}`, '--queue', 'warm-up', '--module', module];
  const worker = spawn(process.execPath, [...args, ...flags], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(worker, 'exit');
  const late = sleep(TIMEOUT_MS).then(() => 'late');
  try {
    if ((await Promise.race([done, ended, late])) !== undefined)
      return `the worker has done ${settled} tasks of two`;
    await sleep(100);
    worker.kill('SIGTERM');
    const [code] = (await Promise.race([ended, late])) as [number | null];
    return code === 0 ? undefined : 'the worker did not leave';
  } finally {
    worker.kill('SIGKILL');
    server.close();
    rmSync(folder, { recursive: true });
  }
}

void warmUp().then((failure) => {
  if (failure !== undefined) console.error(`warm-up: ${failure}`);
  process.exit(failure === undefined ? 0 : 1);
});
