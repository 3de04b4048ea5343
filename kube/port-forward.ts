/**
 * A port of a pod, reachable on this machine for as long as the forward is open: a TCP server on 127.0.0.1 with a port that
 * the system chooses, and for each of its connections a WebSocket to the API server, by the PortForward of
 * @kubernetes/client-node. The library leaves open what it was given when a side ends; here both sides end together.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import { PortForward, type KubeConfig } from '@kubernetes/client-node';

export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

export interface Forward extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Why the last connection through it failed, in one line; `undefined` if none did. */
  readonly trouble: () => string | undefined;
}

/**
 * `find` is asked at each connection: another pod may answer by then. Rejects only when this machine has no port to give; what
 * is wrong with the pod shows with the first connection.
 */
export async function forwardPort(config: KubeConfig, find: () => Promise<PodPort>): Promise<Forward> {
  const library = new PortForward(config);
  const open = new Set<Socket>();
  let trouble: string | undefined;

  async function carry(socket: Socket): Promise<void> {
    const target = await find().catch((error: unknown) => {
      trouble = (error as Error).message;
      socket.destroy();
    });
    if (!target) return;
    const { namespace, pod, port } = target;
    // the node's message when nothing listens in the pod; the stream ends with it
    const complaints = new Writable({
      write: (chunk: Buffer, _, done) => {
        // its first message is the port alone, of which the library leaves nothing
        if (chunk.length > 0) {
          trouble = `the port-forward to pod ${namespace}/${pod} failed: ${chunk.toString().trim()}`;
          socket.destroy();
        }
        done();
      },
    });
    try {
      const through = await library.portForward(namespace, pod, [port], socket, complaints, socket);
      if (!('on' in through)) return;
      through.on('close', () => socket.end());
      through.on('error', () => socket.destroy());
      socket.on('close', () => through.close());
      if (socket.destroyed) through.close();
    } catch (error) {
      trouble = refusal(target, error);
      socket.destroy();
    }
  }

  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined); // its 'close' is handled
    void carry(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    trouble: () => trouble,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** The message of ws 8.23, which the library's PortForward uses: `Unexpected server response: 403`. */
function saysDenied(message: string): boolean {
  return /\b40[13]$/.test(message);
}

function refusal({ namespace, pod }: PodPort, error: unknown): string {
  const { message = '' } = error as { message?: string };
  const what = `the port-forward to pod ${namespace}/${pod} failed`;
  if (saysDenied(message))
    return `${what}: you need the right to get and create pods/portforward in namespace ${namespace}`;
  return `${what}: ${message || 'the API server closed the connection'}`;
}
