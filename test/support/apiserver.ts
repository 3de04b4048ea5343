/**
 * A real Kubernetes API server for tests: etcd and kube-apiserver as child processes, without nodes, scheduler or
 * controllers. It listens on a free loopback port, authorises by RBAC, and knows one user, `admin`, a member of
 * `system:masters`; other users are service accounts, whose tokens `kubectl create token` makes. It is ready after
 * 2 to 4 s, so share one per test file, or one for a whole run (`attach`), and take a namespace per test.
 *
 * What comes with there being no controllers: a deleted namespace stays `Terminating`, a Deployment makes no pods, nothing
 * is garbage-collected, and pods may be created without a service account.
 *
 * Everything lives in one temporary folder. Disposing kills both processes and removes the folder; a guard process does the
 * same when the test process dies before it could.
 */
import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { frontProxy, makeFrontProxy } from './certificates.ts';
import { failure, kill, logTail, pidOf, run, startGuard } from './children.ts';
import { freePort } from './ports.ts';
import { findTools } from './tools.ts';

const startTimeout = 240_000;
const pollEvery = 50;

/** Where a server is and how to be admin there. Plain data: vitest's `provide` carries it to other processes. */
export interface Endpoint {
  /** `https://127.0.0.1:<port>`. */
  server: string;
  /** PEM in base64, as in a kubeconfig. */
  caData: string;
  token: string;
  /** Path of a kubeconfig of `admin`. */
  kubeconfig: string;
  /** Path of the kubectl that goes with the server. */
  kubectlPath: string;
  /** Of kube-apiserver. */
  pid: number;
}

export interface Attached extends Endpoint {
  /**
   * Runs kubectl as admin and resolves to its stdout.
   * @throws Error with kubectl's stderr as message when it exits with another code than 0.
   */
  kubectl(args: readonly string[], options?: { input?: string; timeout?: number }): Promise<string>;
  /** Writes a kubeconfig for the owner of `token`; resolves to its path. */
  kubeconfigFor(token: string): Promise<string>;
  /** Creates a namespace of a name of its own and resolves to the name. */
  namespace(prefix?: string): Promise<string>;
  /** SIGSTOP to kube-apiserver: connections stay open and nothing answers, as in a network partition. */
  freeze(): void;
  /** SIGCONT, after `freeze`. */
  thaw(): void;
}

export interface ApiServer extends Attached, AsyncDisposable {}

export interface ApiServerOptions {
  /** More flags of kube-apiserver, without their dashes. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Whether it has an aggregation layer, and so can have APIServices. They reach this machine by a Service of type ExternalName. */
  readonly aggregation?: boolean;
}

/**
 * Starts a server and resolves when `/readyz` returns ok.
 * @throws Error with the end of the log that matters when it does not start within four minutes.
 */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const tools = await findTools(['etcd', 'kube-apiserver', 'kubectl']);
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(tools, options);
    } catch (error) {
      // another process may take the free port between our check and the server's bind
      const portTaken = error instanceof Error && error.message.includes('address already in use');
      if (!portTaken || attempt === 3) throw error;
    }
  }
}

/** The same functions for a server that another process started. */
export function attach(endpoint: Endpoint): Attached {
  const kubectl: Attached['kubectl'] = (args, { input, timeout = 120_000 } = {}) => {
    const common = ['--kubeconfig', endpoint.kubeconfig, '--cache-dir', `${endpoint.kubeconfig}.cache`];
    return new Promise((resolve, reject) => {
      const child = execFile(
        endpoint.kubectlPath,
        [...common, ...args],
        { timeout, maxBuffer: 64 << 20 },
        (error, stdout, stderr) => {
          if (error) reject(new Error(stderr.trim() || `kubectl ${args.join(' ')}: ${error.message}`));
          else resolve(stdout);
        },
      );
      // kubectl may exit without reading all of its input; only its exit code matters
      child.stdin?.on('error', () => {});
      child.stdin?.end(input ?? '');
    });
  };
  return {
    ...endpoint,
    kubectl,
    async kubeconfigFor(token) {
      const path = `${endpoint.kubeconfig}.${randomBytes(4).toString('hex')}`;
      await writeFile(path, kubeconfigOf(endpoint.server, endpoint.caData, token), { mode: 0o600 });
      return path;
    },
    async namespace(prefix = 'test') {
      const name = `${prefix}-${randomBytes(4).toString('hex')}`;
      await kubectl(['create', 'namespace', name]);
      return name;
    },
    freeze: () => {
      process.kill(endpoint.pid, 'SIGSTOP');
      waitUntilStopped(endpoint.pid);
    },
    thaw: () => void process.kill(endpoint.pid, 'SIGCONT'),
  };
}

/** A signal is sent before it is felt: until the last thread has stopped, the server may still answer. */
function waitUntilStopped(pid: number): void {
  const giveUp = performance.now() + 5_000;
  const runs = (thread: string): boolean => {
    try {
      const [, state] =
        /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')) ?? [];
      return state !== 'T';
    } catch {
      return false; // the thread has ended
    }
  };
  while (readdirSync(`/proc/${pid}/task`).some(runs))
    if (performance.now() > giveUp) throw new Error(`process ${pid} did not stop within 5 s of SIGSTOP`);
}

async function startOnce(
  tools: string,
  { flags: more = {}, aggregation = false }: ApiServerOptions,
): Promise<ApiServer> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-apiserver-'));
  const port = await freePort();
  const token = randomBytes(16).toString('hex');
  writeFileSync(join(dir, 'tokens.csv'), `${token},admin,admin,"system:masters"\n`, { mode: 0o600 });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(join(dir, 'sa.key'), privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 });

  if (aggregation) await makeFrontProxy(dir, FRONT_PROXY);

  const etcd = run(join(tools, 'etcd'), dir, etcdFlags);
  const apiserver = run(join(tools, 'kube-apiserver'), dir, [
    ...apiserverFlags(port),
    ...(aggregation ? aggregationFlags : []),
    ...flags(more),
  ]);
  const children = [etcd, apiserver];
  const guard = startGuard(children, dir);
  const stopped = new AbortController();
  const dispose = async (): Promise<void> => {
    stopped.abort();
    await Promise.all(children.map((child) => kill(child)));
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
    // last, because the guard covers everything up to here
    await kill(guard);
  };

  try {
    const server = `https://127.0.0.1:${port}`;
    const failed = Promise.race(children.map((child) => failure(child, dir)));
    const ca = await Promise.race([ready(server, dir, token, stopped.signal), failed]);
    const caData = Buffer.from(ca).toString('base64');
    const kubeconfig = join(dir, 'kubeconfig');
    writeFileSync(kubeconfig, kubeconfigOf(server, caData, token), { mode: 0o600 });
    const kubectlPath = join(tools, 'kubectl');
    const endpoint = { server, caData, token, kubeconfig, kubectlPath, pid: pidOf(apiserver) };
    return { ...attach(endpoint), [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

// etcd takes the part after unix:// for a file name in its working directory: no port to find or to clash over.
const client = 'unix://localhost:1';
const peer = 'unix://localhost:2';
const etcdFlags = flags({
  name: 'test',
  'data-dir': 'etcd',
  'log-level': 'warn',
  'unsafe-no-fsync': 'true',
  'listen-client-urls': client,
  'advertise-client-urls': client,
  'listen-peer-urls': peer,
  'initial-advertise-peer-urls': peer,
  'initial-cluster': `test=${peer}`,
});

const apiserverFlags = (port: number): string[] =>
  flags({
    'etcd-servers': client,
    'cert-dir': 'certs',
    'token-auth-file': 'tokens.csv',
    'authorization-mode': 'RBAC',
    'bind-address': '127.0.0.1',
    'advertise-address': '127.0.0.1',
    'secure-port': String(port),
    'service-cluster-ip-range': '10.0.0.0/24',
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-key-file': 'sa.key',
    'service-account-signing-key-file': 'sa.key',
    // Without the controller that makes service accounts, this plugin would refuse every pod.
    'disable-admission-plugins': 'ServiceAccount',
    'endpoint-reconciler-type': 'none',
    profiling: 'false',
  });

const FRONT_PROXY = 'front-proxy-client';
const aggregationFlags = flags({
  'requestheader-client-ca-file': frontProxy.ca,
  'requestheader-allowed-names': FRONT_PROXY,
  'requestheader-username-headers': 'X-Remote-User',
  'requestheader-group-headers': 'X-Remote-Group',
  'requestheader-extra-headers-prefix': 'X-Remote-Extra-',
  'proxy-client-cert-file': frontProxy.cert,
  'proxy-client-key-file': frontProxy.key,
});

function flags(values: Record<string, string>): string[] {
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}

/** Resolves to the server's CA (PEM) once it is ready. */
async function ready(server: string, dir: string, token: string, signal: AbortSignal): Promise<string> {
  const certificate = join(dir, 'certs', 'apiserver.crt');
  const deadline = performance.now() + startTimeout;
  while (performance.now() < deadline && !signal.aborted) {
    if (existsSync(certificate)) {
      const ca = await readFile(certificate, 'utf8');
      if ((await status(`${server}/readyz`, ca, token)) === 200) return ca;
    }
    await delay(pollEvery);
  }
  throw new Error(
    `kube-apiserver was not ready after ${startTimeout / 1000} s:\n${await logTail(dir, 'kube-apiserver')}`,
  );
}

/** Status code of a GET, or 0 when there was no answer. */
function status(url: string, ca: string, token: string): Promise<number> {
  return new Promise((resolve) => {
    const options = { ca, agent: false, timeout: 5000, headers: { authorization: `Bearer ${token}` } };
    const request = get(url, options, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(0));
  });
}

// JSON is YAML, and needs no quoting rules of our own.
const kubeconfigOf = (server: string, caData: string, token: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': caData } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  });
