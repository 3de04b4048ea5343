/**
 * A port that every controller listens on and the one that leads answers. A Service routes to any of them, and a client such as
 * KEDA keeps its connection for days: so a standby passes connections on to the leader, byte by byte, and TLS remains between the
 * client and the leader. Where nobody leads, a connection is closed, which clients take for an error and retry.
 *
 * It cannot go in a circle: a process sees the lease at least as of its own last leadership, so of two that do not lead only one
 * can take the other for the leader; and a connection to itself is refused by `leader`.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { pipeline } from 'node:stream';

export interface RelayOptions {
  readonly port: number;
  /** For the error when it cannot listen. */
  readonly flag: string;
  /** Where the leader listens, if that is another process: `tcp://host:port`. */
  readonly leader: () => string | undefined;
}

export interface Relay extends AsyncDisposable {
  readonly port: number;
  /**
   * Gives connections to `serve` from now on, or, with `undefined`, to the leader. Those that go to a leader end; those that were
   * served are for the server to end.
   */
  answerBy(serve: ((socket: Socket) => void) | undefined): void;
}

const CONNECT_TIMEOUT_MS = 3_000;
const MOST_CONNECTIONS = 512;

/** Rejects if the port is unavailable. */
export async function openRelay({ port, flag, leader }: RelayOptions): Promise<Relay> {
  let answer: ((socket: Socket) => void) | undefined;
  const open = new Set<Socket>();
  const passed = new Set<Socket>();
  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      passed.delete(socket);
    });
    // errors end the connection, and the other side of it
    socket.on('error', () => undefined);
    if (answer) return answer(socket);
    passed.add(socket);
    passOn(socket, leader());
  });
  server.maxConnections = MOST_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? `it is in use: choose another with ${flag}` : error.message;
      reject(new Error(`cannot listen on port ${port}: ${why}`, { cause: error }));
    });
    server.listen(port, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    answerBy: (serve) => {
      answer = serve;
      for (const socket of passed) socket.destroy();
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function passOn(socket: Socket, leader: string | undefined): void {
  if (leader === undefined) return void socket.destroy();
  const { hostname, port } = new URL(leader);
  const onward = connect({
    host: hostname.replaceAll(/[[\]]/g, ''),
    port: Number(port),
    noDelay: true,
    keepAlive: true,
  });
  onward.setTimeout(CONNECT_TIMEOUT_MS, () => onward.destroy());
  onward.once('connect', () => onward.setTimeout(0));
  // the end of one is the end of the other; errors need no more than that
  pipeline(socket, onward, socket, () => undefined);
}
