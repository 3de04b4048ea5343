/** A server's certificate and key in two files, as Kubernetes mounts a Secret of type `kubernetes.io/tls`; read again now and then. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:https';
import { interval } from './timers.ts';

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

export interface TlsMaterial {
  /** PEM texts. */
  readonly cert: string;
  readonly key: string;
}

const READ_AGAIN_MS = 60_000;

/** Rejects with Error in one line when a file cannot be read or the first is no certificate. */
export async function readTls(files: TlsFiles): Promise<TlsMaterial> {
  try {
    const [cert, key] = await Promise.all([readFile(files.cert, 'utf8'), readFile(files.key, 'utf8')]);
    derOf({ cert, key });
    return { cert, key };
  } catch (error) {
    const why = (error as Error).message;
    throw new Error(`the certificate in ${files.cert} cannot be served: ${why}`, { cause: error });
  }
}

/** The server's own certificate, the first in its file, as it goes over the wire. */
export function derOf({ cert }: TlsMaterial): Buffer {
  return new X509Certificate(cert).raw;
}

/** Updates `server` when the files have changed; unreadable files are retried later. */
export function followTls(
  server: Server,
  files: TlsFiles,
  first: TlsMaterial,
  onChange: (material: TlsMaterial) => void,
): Disposable {
  let known = first;
  const again = interval(READ_AGAIN_MS, () => {
    readTls(files).then(
      (found) => {
        if (found.cert === known.cert && found.key === known.key) return;
        server.setSecureContext({ ...found });
        known = found;
        onChange(found);
      },
      () => undefined,
    );
  }).unref();
  return { [Symbol.dispose]: () => again.clear() };
}
