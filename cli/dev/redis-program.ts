/**
 * Where a Redis server comes from on this machine: from PATH, else by the system's package manager where somebody said that it
 * may, else as a container, else an error that says what to install. Nothing is installed without a word.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline/promises';

export interface RedisProgram {
  /** Human-readable. */
  readonly what: string;
  readonly container: boolean;
  /** The command that starts it on a loopback port, without persistence, in `folder`. */
  command(port: number, folder: string): { readonly file: string; readonly args: readonly string[] };
}

/** One step of installing a server with a package manager. */
interface Installer {
  readonly tool: string;
  readonly commands: readonly (readonly string[])[];
}

const SERVERS = ['redis-server', 'valkey-server'];
const VOLATILE = ['--save', '', '--appendonly', 'no', '--daemonize', 'no'];
const IMAGE = 'redis:7';

/** Whether a package manager may install a Redis; `ask`: the user at the terminal, if there is one. */
export type Install = 'yes' | 'ask';

/** The first that works. Rejects with one line that says what to install. */
export async function findRedis(
  env: NodeJS.ProcessEnv,
  install: Install,
  onProgress: (text: string) => void,
): Promise<RedisProgram> {
  const there = fromPath(env);
  if (there) return there;
  const tried: string[] = [];
  for (const { tool, commands } of installers()) {
    if (!findProgram(env, tool)) continue;
    if (
      install === 'ask' &&
      !(await agreed(`there is no redis-server here. May ${tool} install one? [y/N] `))
    ) {
      tried.push(`${tool}: only with --install`);
      continue;
    }
    onProgress(`no redis-server here: ${tool} installs one`);
    for (const [file = tool, ...args] of commands) {
      const failure = await run(env, file, args);
      if (failure) tried.push(`${tool}: ${failure}`);
      const installed = fromPath(env);
      if (installed) return installed;
    }
  }
  const failure = findProgram(env, 'docker')
    ? await run(env, 'docker', ['info', '--format', '{{.ID}}'])
    : undefined;
  if (findProgram(env, 'docker') && failure === undefined) {
    onProgress(`no redis-server here: Docker runs ${IMAGE}`);
    return inDocker;
  }
  if (failure) tried.push(`docker: ${failure}`);
  const why = tried.length > 0 ? ` (${tried.join('; ')})` : '';
  throw new Error(
    `there is no Redis to start${why}: install redis-server or valkey-server ` +
      '(apt install redis-server, dnf install valkey, brew install redis), or Docker, or give --redis a URL',
  );
}

/** Asks the user at the terminal; without a terminal, the answer is no. */
async function agreed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(question)).trim());
  } catch {
    return false; // interrupted
  } finally {
    terminal.close();
  }
}

function fromPath(env: NodeJS.ProcessEnv): RedisProgram | undefined {
  for (const name of SERVERS) {
    const file = findProgram(env, name);
    if (file === undefined) continue;
    const command: RedisProgram['command'] = (port, folder) => ({
      file,
      args: ['--bind', '127.0.0.1', '--port', String(port), ...VOLATILE, '--dir', folder],
    });
    return { what: name, container: false, command };
  }
  return undefined;
}

/** The shell in the container ends the server when its stdin ends: then we are gone, for whatever reason. */
const IN_CONTAINER =
  "redis-server --save '' --appendonly no --protected-mode no & cat >/dev/null; kill $!; wait $!";

const inDocker: RedisProgram = {
  what: `${IMAGE} in Docker`,
  container: true,
  command: (port) => {
    const words = `run --rm --init --interactive --publish 127.0.0.1:${port}:6379 --entrypoint sh ${IMAGE} -c`;
    return { file: 'docker', args: [...words.split(' '), IN_CONTAINER] };
  },
};

function installers(): Installer[] {
  if (process.platform === 'darwin') return [{ tool: 'brew', commands: [['brew', 'install', 'redis']] }];
  if (process.getuid?.() !== 0) return [];
  return [
    {
      tool: 'apt-get',
      commands: [
        ['apt-get', 'update', '-qq'],
        ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', 'redis-server'],
      ],
    },
    {
      tool: 'dnf',
      commands: [
        ['dnf', 'install', '-y', '-q', 'redis'],
        ['dnf', 'install', '-y', '-q', 'valkey'],
      ],
    },
    {
      tool: 'apk',
      commands: [
        ['apk', 'add', '-q', 'redis'],
        ['apk', 'add', '-q', 'valkey'],
      ],
    },
  ];
}

/** Runs a command to its end. Returns why it failed, in one line, or `undefined`. */
function run(env: NodeJS.ProcessEnv, file: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2_000)));
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code) => {
      const last = said.trim().split('\n').at(-1)?.slice(0, 200);
      resolve(code === 0 ? undefined : last || `exit code ${code}`);
    });
  });
}

function findProgram(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
