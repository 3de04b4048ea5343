/**
 * The workers of the scale-in experiment: real ones of each library, one task at a time, in images made of packages, with the settings that
 * their libraries have or advise. Times of theirs are a tenth of their defaults, like all others of the experiment.
 */
import { execFile, spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import type { SourceSettings } from '../../queue/sources/sources.ts';
import { NODE_IMAGE, PYTHON_IMAGE } from '../../test/support/kind-images.ts';
import { preparePython } from '../../test/support/python.ts';

const run = promisify(execFile);
const programs = join(import.meta.dirname, '../workers');
const testFolder = join(import.meta.dirname, '../../test');

export interface NapLibrary {
  /** With its version. */
  readonly name: string;
  readonly image: string;
  /** What a pod runs, and what sends the tasks that it reads from standard input, `ID MS` in each line. */
  readonly work: readonly string[];
  readonly push: readonly string[];
  readonly source: SourceSettings;
  /** The list that KEDA is to read. */
  readonly list: string;
  /** Puts its image's files into a folder and returns the Dockerfile for them. */
  readonly prepare: (folder: string) => Promise<string>;
}

/** redis-py needs it with a Python older than 3.11.3, which the image may have though this machine has not. */
const ALSO_BEFORE_3_11_3 =
  'async-timeout==5.0.1 --hash=sha256:39e3809566ff85354557ec2398b55e096c8364bacac9405a7a1fa429e77fe76c';

const celery: NapLibrary = {
  name: 'Celery 5.7.0',
  image: 'millrace-test/celery-naps:1',
  work: ['python3', '-m', 'celery', '-A', 'celery_naps', 'worker', '-c', '1', '-Q', 'mail'],
  push: ['python3', '/app/celery_naps.py'],
  source: { celery: { queues: ['mail'], prioritySteps: [0, 3, 6, 9], keyPrefix: '' } },
  list: 'mail',
  prepare: async (folder) => {
    const requirements = await readFile(join(testFolder, 'sources/python/celery.txt'), 'utf8');
    const python = await preparePython(`${requirements}${ALSO_BEFORE_3_11_3}\n`);
    if (python instanceof Error) throw python;
    const where = ['-c', 'import celery, os; print(os.path.dirname(os.path.dirname(celery.__file__)))'];
    const packages = (await run(python, where)).stdout.trim();
    await cp(packages, join(folder, 'packages'), { recursive: true });
    await cp(join(programs, 'celery_naps.py'), join(folder, 'celery_naps.py'));
    const lines = ['COPY . /app', 'WORKDIR /app', 'ENV PYTHONPATH=/app:/app/packages'];
    // compiled ahead, as any image of theirs is: most of a start is this otherwise
    return [`FROM ${PYTHON_IMAGE}`, ...lines, 'RUN python3 -m compileall -q /app'].join('\n');
  },
};

const bullmq: NapLibrary = {
  name: 'BullMQ 6.7.0',
  image: 'millrace-test/bullmq-naps:1',
  work: ['node', '/app/bullmq-naps.mjs', 'work'],
  push: ['node', '/app/bullmq-naps.mjs', 'push'],
  source: { bullmq: { queues: ['mail'], prefix: 'bull' } },
  list: 'bull:mail:wait',
  prepare: async (folder) => {
    await build({
      entryPoints: [join(programs, 'bullmq-naps.ts')],
      outfile: join(folder, 'bullmq-naps.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      // its other clients, none of which is used
      external: ['pg', 'redis'],
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
      },
    });
    return `FROM ${NODE_IMAGE}\nCOPY . /app`;
  },
};

const sidekiq: NapLibrary = {
  name: 'Sidekiq 6.4.1',
  image: 'millrace-test/sidekiq-naps:1',
  work: ['ruby', '/app/sidekiq_naps.rb', 'work'],
  push: ['ruby', '/app/sidekiq_naps.rb', 'push'],
  source: { sidekiq: { queues: ['mail'] } },
  list: 'queue:mail',
  prepare: async (folder) => {
    const { stdout } = await run(join(testFolder, 'kind/sidekiq-image.sh'), []);
    await cp(join(programs, 'sidekiq_naps.rb'), join(folder, 'sidekiq_naps.rb'));
    return `FROM ${stdout.trim()}\nCOPY . /app`;
  },
};

export const napLibraries: Readonly<Record<string, NapLibrary>> = { celery, bullmq, sidekiq };

/** Builds the image of its workers with the local engine. */
export async function buildNapImage({ image, prepare }: NapLibrary): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-naps-'));
  try {
    const dockerfile = await prepare(folder);
    const env = { ...process.env, DOCKER_BUILDKIT: '0' };
    const building = run('docker', ['build', '--quiet', '--tag', image, '--file', '-', folder], { env });
    building.child.stdin?.end(dockerfile);
    await building;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Sends tasks with the library's own client, from a container of its image. */
export interface NapPusher extends AsyncDisposable {
  readonly push: (id: string, ms: number) => void;
}

/** Resolves when it is connected. */
export async function startPusher(library: NapLibrary, redisUrl: string): Promise<NapPusher> {
  const [program = '', ...args] = library.push;
  const flags = ['--rm', '--interactive', '--network', 'host', '--env', `REDIS_URL=${redisUrl}`];
  const child = spawn('docker', ['run', ...flags, '--entrypoint', program, library.image, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = new Promise<void>((resolve) => void child.once('close', () => resolve()));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const { value } = (await lines.next()) as { value: string | undefined };
  if (value !== 'ready')
    throw new Error(`the client of ${library.name} did not start: ${value ?? 'it ended'}`);
  return {
    push: (id, ms) => void child.stdin.write(`${id} ${ms}\n`),
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await gone;
    },
  };
}

/** The Deployment that both rules scale. */
export function napDeployment(library: NapLibrary, name: string, redisUrl: string): object {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: GRACE_S,
          automountServiceAccountToken: false,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 1000,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          containers: [
            {
              name: 'worker',
              image: library.image,
              imagePullPolicy: 'IfNotPresent',
              command: library.work,
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
              env: [{ name: 'REDIS_URL', value: redisUrl }],
              // without any, a pod gets next to nothing on a busy machine
              resources: { requests: { cpu: '20m' } },
            },
          ],
        },
      },
    },
  };
}

/** A tenth of Kubernetes' default. */
const GRACE_S = 3;
