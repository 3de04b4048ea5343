/**
 * A real Kubernetes cluster for tests, made by the scripts beside this file. One cluster serves a whole run: `setup`, named as
 * vitest's globalSetup, starts it and provides where it is; a test file takes `connectCluster(inject('cluster'))`. A test or
 * script of its own writes `await using cluster = await startCluster()`.
 *
 * The cluster is deleted at the end, unless MILLRACE_KEEP_CLUSTER=1. One that is still there and healthy, kept or left by an
 * interrupted run, is used again: tests work in namespaces of their own and leave nothing outside of them.
 */
import { execFile, spawnSync, type ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { parseEnv } from 'node:util';
import type { TestProject } from 'vitest/node';

const scripts = import.meta.dirname;

/** Where a running cluster is; plain data, so that it can be handed to another process. */
export interface ClusterPlace {
  readonly name: string;
  readonly kubeconfig: string;
  /** Folder of kind, kubectl and helm. */
  readonly tools: string;
  /** Address on which node ports answer, from this machine. */
  readonly node: string;
}

export interface Cluster {
  readonly place: ClusterPlace;
  /** The environment in which kubectl and helm of a child process speak to this cluster. */
  readonly env: NodeJS.ProcessEnv;
  /**
   * Runs kubectl and returns its standard output. `input` is given to it on standard input.
   * @throws with everything it printed, when it fails.
   */
  kubectl(args: readonly string[], options?: { input?: string }): Promise<string>;
  /** Runs helm, as `kubectl` does. */
  helm(args: readonly string[], options?: { input?: string }): Promise<string>;
  /** Applies manifests, server side, as the field manager `test`. */
  applyYaml(yaml: string): Promise<string>;
  /**
   * Puts images of the local engine on the node; pods that use them need imagePullPolicy IfNotPresent. Takes 2 to
   * 5 s for each that the node does not have yet.
   * @throws when the engine does not have one of them.
   */
  loadImages(images: readonly string[]): Promise<void>;
}

interface RunOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Shows what it says on standard error while it runs: first runs take minutes. */
  readonly show?: boolean;
}

function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const env = options.env ?? process.env;
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { env, maxBuffer: 64 * 2 ** 20 }, (cause, stdout, stderr) => {
      if (!cause) return resolve(stdout);
      const printed = `${stdout}${stderr}`.trim() || cause.message;
      reject(new Error(`${command} ${args.join(' ')} failed:\n${printed}`, { cause }));
    });
    feed(child, options);
  });
}

function feed(child: ChildProcess, { input, show }: RunOptions): void {
  // a program that fails before it has read its input breaks the pipe; its exit code tells more than EPIPE
  child.stdin?.on('error', () => undefined).end(input ?? '');
  if (show) child.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk));
}

/**
 * kind asks the node which images it has, which not every node image can answer, and would then copy all of them each time.
 * So the node also keeps a list of what was loaded, name and id; of two lines with the same name the later one holds.
 */
async function loadImages(
  place: ClusterPlace,
  images: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const inNode = ['exec', '--interactive', `${place.name}-control-plane`, 'sh', '-c'];
  const list = '/kind/loaded-images';
  const ids = (await run('docker', ['image', 'inspect', '--format', '{{.Id}}', ...images]))
    .trim()
    .split('\n');
  const lines = images.map((image, index) => `${image} ${ids[index]}`);
  const before = (await run('docker', [...inNode, `touch ${list} && cat ${list}`])).split('\n');
  const lineOf = new Map(before.map((line) => [line.split(' ')[0], line]));
  const missing = images.filter((image, index) => lineOf.get(image) !== lines[index]);
  if (missing.length === 0) return;
  await run(join(place.tools, 'kind'), ['load', 'docker-image', '--name', place.name, ...missing], { env });
  await run('docker', [...inNode, `cat >>${list}`], { input: `${lines.join('\n')}\n` });
}

/** The operations on a cluster that runs already. */
export function connectCluster(place: ClusterPlace): Cluster {
  const env = {
    ...process.env,
    KUBECONFIG: place.kubeconfig,
    PATH: `${place.tools}${delimiter}${process.env['PATH'] ?? ''}`,
  };
  const kubectl: Cluster['kubectl'] = (args, options) =>
    run(join(place.tools, 'kubectl'), args, { ...options, env });
  return {
    place,
    env,
    kubectl,
    helm: (args, options) => run(join(place.tools, 'helm'), args, { ...options, env }),
    applyYaml: (yaml) =>
      kubectl(['apply', '--server-side', '--field-manager', 'test', '--filename', '-'], { input: yaml }),
    loadImages: (images) => loadImages(place, images, env),
  };
}

interface StartOptions {
  readonly name?: string;
  /** Leaves the cluster running when it is disposed of. */
  readonly keep?: boolean;
}

/**
 * Starts the cluster, or takes the one of this name that runs, and makes sure that the images are here which ours start from.
 * Takes under a minute with a filled cache, several minutes without.
 * @throws with what the scripts printed, when no cluster can be made here.
 */
export async function startCluster({
  name = 'millrace-test',
  keep = process.env['MILLRACE_KEEP_CLUSTER'] === '1',
}: StartOptions = {}): Promise<Cluster & AsyncDisposable> {
  const printed = parseEnv(await run(join(scripts, 'cluster-up.sh'), [name], { show: true }));
  const { KUBECONFIG: kubeconfig, MILLRACE_TOOLS: tools, MILLRACE_NODE: node } = printed;
  if (!kubeconfig || !tools || !node) {
    throw new Error(`cluster-up.sh did not say where the cluster ${name} is: ${JSON.stringify(printed)}`);
  }
  await run(join(scripts, 'base-images.sh'), [], { show: true });
  return {
    ...connectCluster({ name, kubeconfig, tools, node }),
    [Symbol.asyncDispose]: async () => {
      if (!keep) await run(join(scripts, 'cluster-down.sh'), [name]);
    },
  };
}

function inFolders(program: string, folders: readonly string[]): boolean {
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether cluster tests can run on this machine, and if not, why, in one line. */
export function clusterAbility(): { ok: true } | { ok: false; reason: string } {
  const path = (process.env['PATH'] ?? '').split(delimiter);
  const has = (...programs: string[]) => programs.every((program) => inFolders(program, path));
  if (process.platform !== 'linux') {
    return {
      ok: false,
      reason: 'they need Linux, where a node answers on its address of the Docker network',
    };
  }
  const engine = spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 }).status === 0;
  if (!engine && process.getuid?.() !== 0) {
    return { ok: false, reason: 'no Docker engine answers, and only root can start one' };
  }
  if (!engine && !has('dockerd') && !has('apt-get')) {
    return { ok: false, reason: 'there is no Docker engine, and no apt-get to install one with' };
  }
  if (!has('go') && !has('kind', 'kubectl', 'helm')) {
    return { ok: false, reason: 'neither Go nor all of kind, kubectl and helm are installed' };
  }
  return { ok: true };
}

/**
 * vitest's globalSetup: provides `cluster`, undefined where there can be none.
 * @throws in CI where there can be none: a test that nobody ran must not look like one that passed.
 */
export async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const ability = clusterAbility();
  if (!ability.ok) {
    const line = `cluster tests cannot run here: ${ability.reason}`;
    if (process.env['CI']) throw new Error(line);
    console.warn(line);
    project.provide('cluster', undefined);
    return undefined;
  }
  const cluster = await startCluster();
  project.provide('cluster', cluster.place);
  return async () => await cluster[Symbol.asyncDispose]();
}

declare module 'vitest' {
  interface ProvidedContext {
    cluster: ClusterPlace | undefined;
  }
}
