/** Certificates for TLS tests, made with openssl in a temporary folder. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** An authority of the test's own and one certificate, by default for 127.0.0.1, which server and client may both show. */
export async function makeCertificates(
  dir: string,
  names = 'IP:127.0.0.1,DNS:localhost',
): Promise<Certificates> {
  const openssl = (...args: string[]): Promise<unknown> => promisify(execFile)('openssl', args, { cwd: dir });
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await openssl(
    'req',
    '-x509',
    ...fresh,
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-subj',
    '/CN=test authority',
  );
  await openssl(
    'req',
    '-x509',
    ...fresh,
    '-keyout',
    'redis.key',
    '-out',
    'redis.crt',
    '-subj',
    '/CN=redis',
    '-CA',
    'ca.crt',
    '-CAkey',
    'ca.key',
    '-addext',
    `subjectAltName=${names}`,
    '-addext',
    'basicConstraints=critical,CA:FALSE',
  );
  return await readCertificates(dir);
}

/** Those that `makeCertificates` has made there. */
export async function readCertificates(dir: string): Promise<Certificates> {
  const [ca, cert, key] = await Promise.all(
    ['ca.crt', 'redis.crt', 'redis.key'].map((file) => readFile(join(dir, file), 'utf8')),
  );
  return { ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
}

/** The names of the files that `makeFrontProxy` writes. */
export const frontProxy = { ca: 'front-proxy-ca.crt', cert: 'front-proxy.crt', key: 'front-proxy.key' };

/** An authority and a certificate with which an API server proves who it is to the servers behind its aggregation layer. */
export async function makeFrontProxy(dir: string, name: string): Promise<void> {
  const openssl = (...args: string[]): Promise<unknown> => promisify(execFile)('openssl', args, { cwd: dir });
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const authority = ['-keyout', 'front-proxy-ca.key', '-out', frontProxy.ca, '-subj', '/CN=front-proxy-ca'];
  await openssl('req', '-x509', ...fresh, ...authority);
  const signed = ['-CA', frontProxy.ca, '-CAkey', 'front-proxy-ca.key'];
  const usage = ['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=clientAuth'];
  const files = ['-keyout', frontProxy.key, '-out', frontProxy.cert, '-subj', `/CN=${name}`];
  await openssl('req', '-x509', ...fresh, ...files, ...signed, ...usage);
}
