/** Ports for servers that are started by their number. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the ports that a system gives to those that ask for any: from 32768 on Linux, from 49152 on others. */
const [FIRST_PORT, LAST_PORT] = [12_000, 29_999];
let nextPort = randomInt(FIRST_PORT, LAST_PORT);

/**
 * A port on which nothing listens, given once: no server or client that asks the system for any port takes it before the
 * server that it is for does, or while that server restarts; nor does a test of another process, for as long as this one lives.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = nextPort;
    nextPort = port < LAST_PORT ? port + 1 : FIRST_PORT;
    if ((await claim(port)) && (await listens({ port, host: '127.0.0.1' }, 'release'))) return port;
  }
}

/** A socket of that name in Linux' abstract namespace, which ends with the process, is what keeps others off. */
async function claim(port: number): Promise<boolean> {
  return process.platform !== 'linux' || (await listens({ path: `\0millrace-test-port-${port}` }, 'hold'));
}

function listens(
  at: { readonly port: number; readonly host: string } | { readonly path: string },
  then: 'hold' | 'release',
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    server.listen(at, () => {
      if (then === 'hold') resolve(server.unref().listening);
      else server.close(() => resolve(true));
    });
  });
}
