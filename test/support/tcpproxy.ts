/** A TCP proxy for fault tests: placed before a real server, it can stall, cut or slow down the traffic. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Requests go to the server, replies come from it. */
export type Direction = 'requests' | 'replies';

export interface TcpProxy extends AsyncDisposable {
  port: number;
  /** Nothing passes any more, in either direction or in one; connections stay open and new ones are accepted, as with lost packets. */
  stall(direction?: Direction): void;
  /** Replies are stalled from the moment that a request with this text passes. */
  stallAfter(request: string): void;
  /** In place of what comes from the server as the n-th from now on, its connection is cut. Returns whether it has come. */
  cutAtReply(n: number): () => boolean;
  /** Ends `stall`; withheld data passes. */
  resume(): void;
  /** Present connections stay open and carry nothing ever again, as when a router forgot them; new ones work. */
  swallow(): void;
  /** Breaks all connections; withheld data is lost, and new ones work. */
  cut(): void;
  /** New connections go to another port, as when a name begins to mean another server. */
  redirect(targetPort: number): void;
}

/**
 * `roundTripMs`: how long what passes is on its way, there and back; in order, and as much at a time as there is. `repliesPerS`: so
 * many bytes of replies pass in a second, on each connection.
 */
export async function startTcpProxy(
  targetPort: number,
  { roundTripMs = 0, repliesPerS = Infinity } = {},
): Promise<TcpProxy> {
  const sockets = new Map<Socket, Direction>();
  const swallowed = new Set<Socket>();
  let stalled: readonly Direction[] = [];
  let target = targetPort;
  let last: string | undefined;
  let repliesLeft = Infinity;
  const held = (socket: Socket, direction: Direction): boolean =>
    swallowed.has(socket) || stalled.includes(direction);

  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const [from, to, direction] of [
      [near, far, 'requests'],
      [far, near, 'replies'],
    ] as const) {
      sockets.set(from, direction);
      from.on('data', (chunk) => {
        if (direction === 'replies' && --repliesLeft === 0) {
          near.destroy();
          far.destroy();
          return;
        }
        if (direction === 'requests' && last !== undefined && chunk.includes(last)) stall('replies');
        if (roundTripMs > 0) setTimeout(() => to.writable && to.write(chunk), roundTripMs / 2);
        else if (direction === 'replies' && repliesPerS < Infinity) {
          from.pause();
          void trickle(chunk, to, repliesPerS).then(() => held(from, direction) || from.resume());
        } else if (!to.write(chunk)) from.pause();
      });
      to.on('drain', () => {
        if (!held(from, direction)) from.resume();
      });
      from.on('end', () => (roundTripMs > 0 ? setTimeout(() => to.end(), roundTripMs / 2) : to.end()));
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        swallowed.delete(from);
        to.destroy();
      });
      if (held(from, direction)) from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');

  function stall(direction?: Direction): void {
    stalled = direction ? [direction] : ['requests', 'replies'];
    last = undefined;
    for (const [socket, its] of sockets) if (stalled.includes(its)) socket.pause();
  }
  const cut = (): void => {
    for (const socket of sockets.keys()) socket.destroy();
  };
  return {
    port: address.port,
    stall,
    stallAfter: (request) => (last = request),
    cutAtReply: (n) => {
      repliesLeft = n;
      return () => repliesLeft <= 0;
    },
    resume() {
      stalled = [];
      for (const socket of sockets.keys()) if (!swallowed.has(socket)) socket.resume();
    },
    swallow() {
      for (const socket of sockets.keys()) {
        swallowed.add(socket);
        socket.pause();
      }
    },
    cut,
    redirect: (port) => (target = port),
    async [Symbol.asyncDispose]() {
      server.close();
      cut();
      await once(server, 'close');
    },
  };
}

/** Forwards a tenth of the bytes per second, ten times a second. */
async function trickle(chunk: Buffer, to: Socket, bytesPerS: number): Promise<void> {
  const most = Math.ceil(bytesPerS / 10);
  for (let from = 0; from < chunk.length && to.writable; from += most) {
    to.write(chunk.subarray(from, from + most));
    await delay(100);
  }
}
