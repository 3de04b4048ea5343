/**
 * What Redis can do: RPOP, then HSET, 64 at a time on each of a few connections, so that the server always has work while
 * we make more. Nothing is promised to anybody: what was popped and not written is lost with this process. Sockets and a
 * parser for just these replies, because a client library would be the bottleneck. Drains the list when told to.
 */
import { connect, type Socket } from 'node:net';
import { work } from '../run/tasks.ts';

const DEPTH = 64;
const CONNECTIONS = 4;

const [url = '', queue = '', result = ''] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const pops = `*2\r\n$4\r\nRPOP\r\n$${queue.length}\r\n${queue}\r\n`.repeat(DEPTH);
const hset = `*4\r\n$4\r\nHSET\r\n$${result.length}\r\n${result}\r\n`;

/** `start` begins to drain; a connection stops at the first empty reply. */
function createDrain(socket: Socket): { start(): void } {
  let rest = '';
  let expected = 0;
  let popping = true;
  let writes = '';
  let found = 0;

  function pop(): void {
    expected = DEPTH;
    popping = true;
    writes = '';
    found = 0;
    socket.write(pops, 'latin1');
  }

  function take(task: string): void {
    const { id, result: value } = work(task);
    writes += `${hset}$${id.length}\r\n${id}\r\n$${value.length}\r\n${value}\r\n`;
    found++;
  }

  /** The end of the reply that begins at `at`, or -1 if it is incomplete. */
  function readReply(text: string, at: number): number {
    const line = text.indexOf('\r\n', at);
    if (line < 0) return -1;
    if (text[at] === '-') throw new Error(text.slice(at + 1, line));
    if (text[at] !== '$' || text[at + 1] === '-') return line + 2;
    const end = line + 4 + Number(text.slice(at + 1, line));
    if (end > text.length) return -1;
    take(text.slice(line + 2, end - 2));
    return end;
  }

  socket.setEncoding('latin1').on('data', (chunk: string) => {
    const replies = rest + chunk;
    let at = 0;
    while (expected > 0) {
      const end = readReply(replies, at);
      if (end < 0) break;
      at = end;
      expected--;
    }
    rest = replies.slice(at);
    if (expected > 0) return;
    if (popping && found > 0) {
      popping = false;
      expected = found;
      socket.write(writes, 'latin1');
    } else if (found === DEPTH) pop();
  });
  return { start: pop };
}

const drains = Array.from({ length: CONNECTIONS }, () =>
  createDrain(connect(Number(port), hostname).setNoDelay()),
);
process.on('message', () => drains.forEach((drain) => drain.start()));
process.on('SIGTERM', () => process.exit());
