/** KEDA's external scaler, asked by KEDA's own code: what a trigger sees of a pool, and when it is told that there is work. */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { POOLS } from '../../kube/resources.ts';
import { makeCertificates, type Certificates } from '../support/certificates.ts';
import { bundledController, startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { prepareKeda, startKeda, type Keda } from '../support/keda.ts';
import { freePort } from '../support/ports.ts';
import { poolManifest, startWorld, type Json, type World } from '../support/world.ts';

const bounded = { withinMs: 30_000, everyMs: 20 };
const DESIRED = 's0-millrace_desired_replicas';
const TASKS = 's0-millrace_tasks';

const stack = new AsyncDisposableStack();
let world: World;
let namespace: string;
let caller: string;
let certificates: Certificates;
let folder: string;
let port: number;

beforeAll(async () => {
  [caller, world] = await Promise.all([prepareKeda(), startWorld()]);
  stack.use(world);
  namespace = await world.namespace();
  folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'millrace-keda-test-'))).path;
  certificates = await makeCertificates(folder);
  const controller = await startScaler('alone', 'alone');
  port = controller.port;
  await controller.process.leading();
}, 600_000);
afterAll(() => stack.disposeAsync());

/** A controller that takes part in the election of this lease. */
async function startScaler(
  lease: string,
  name: string,
  { args = [], program: file }: { readonly args?: string[]; readonly program?: string[] } = {},
): Promise<{ readonly process: ControllerProcess; readonly port: number }> {
  const own = await freePort();
  const election = ['--leader-election', '--lease-name', lease, '--lease-namespace', 'default'];
  const process = stack.use(
    await startController({
      kubeconfig: world.server.kubeconfig,
      args: [...election, '--keda-scaler-port', String(own), ...args],
      env: { POD_NAME: name, POD_IP: '127.0.0.1' },
      ...(file && { program: file }),
    }),
  );
  return { process, port: own };
}

const queueOf = (pool: string): string => `${namespace}:${pool}`;

async function createPool(name: string, spec: Json = {}): Promise<void> {
  const scaling = { tasksPerReplica: 2, scaleDown: { window: '0s' } };
  const manifest = poolManifest(name, world.redis, {
    queue: queueOf(name),
    scaling,
    mode: 'DryRun',
    ...spec,
  });
  await world.objects.create(POOLS, namespace, manifest);
}

function trigger(
  metadata: Readonly<Record<string, string>>,
  auth: Readonly<Record<string, string>> = {},
  at = port,
): Keda {
  const scalerAddress = `localhost:${at}`;
  return stack.use(
    startKeda(caller, { namespace, name: 'theirs', metadata: { scalerAddress, ...metadata }, auth }),
  );
}

/** More often than before: a change of leader, as on a busy machine, pushes what there is once more. */
const pushed = (keda: Keda, before: number): Promise<void> =>
  eventually(() => expect(keda.pushes()).toBeGreaterThan(before), bounded);

const seen = (keda: Keda, metric: string, value: number, active: boolean): Promise<void> =>
  eventually(async () => {
    expect(await keda.metrics(metric)).toEqual({ values: { [metric]: value }, active });
  }, bounded);

test('by default a trigger scales by the replicas that the pool requires', async () => {
  await createPool('mail');
  const keda = trigger({ pool: 'mail' });
  await seen(keda, DESIRED, 0, false);
  expect(await keda.specs()).toEqual({ [DESIRED]: '1' });
  expect(keda.pushes()).toBe(0);
  // in an idle queue, which Redis tells of
  await world.redis.client().lpush(queueOf('mail'), 'a', 'b', 'c');
  await pushed(keda, 0);
  await seen(keda, DESIRED, 2, true);
  await world.redis.client().del(queueOf('mail'));
  await seen(keda, DESIRED, 0, false);
  const before = keda.pushes();
  await world.redis.client().lpush(queueOf('mail'), 'd');
  await pushed(keda, before);
});

test('or by tasks, or by the oldest wait, with a target of its own', async () => {
  await createPool('tiles');
  const [plain, own, wait] = [
    trigger({ pool: 'tiles', metric: 'millrace_tasks' }),
    trigger({ pool: 'tiles', metric: 'millrace_tasks', target: '0.5' }),
    trigger({ pool: 'tiles', metric: 'millrace_oldest_wait_seconds', target: '30' }),
  ];
  await seen(plain, TASKS, 0, false);
  expect(await plain.specs()).toEqual({ [TASKS]: '2' });
  expect(await own.specs()).toEqual({ [TASKS]: '500m' });
  expect(await wait.specs()).toEqual({ 's0-millrace_oldest_wait_seconds': '30' });
  await world.redis.client().lpush(queueOf('tiles'), 'a', 'b', 'c');
  for (const keda of [plain, own, wait]) await pushed(keda, 0);
  await seen(plain, TASKS, 3, true);
  const waited = async (): Promise<number | undefined> =>
    (await wait.metrics('s0-millrace_oldest_wait_seconds')).values['s0-millrace_oldest_wait_seconds'];
  await eventually(async () => expect(await waited()).toBeGreaterThan(0), bounded);
});

test('what is wrong with a trigger, and what is not known, is an error with words', async () => {
  const refusal = async (metadata: Record<string, string>): Promise<string> => {
    await using keda = trigger(metadata);
    return await keda.metrics(DESIRED).then(
      () => 'none',
      (error: Error) => error.message,
    );
  };
  expect(await refusal({})).toMatch(/InvalidArgument.*names no pool: set "pool"/);
  expect(await refusal({ pool: 'blue' })).toMatch(/NotFound.*no WorkerPool "blue" in namespace/);
  expect(await refusal({ pool: 'blue', metric: 'speed' })).toMatch(/InvalidArgument.*no metric "speed"/);
  await createPool('lost', { redis: { url: 'redis://127.0.0.1:1/0' } });
  await eventually(
    async () =>
      expect(await refusal({ pool: 'lost' })).toMatch(/Unavailable.*"lost" is not known: .*127\.0\.0\.1:1/),
    bounded,
  );
  expect(await refusal({ pool: 'lost', target: 'many' })).toMatch(/InvalidArgument.*"many" is no number/);
  await using bare = trigger({ pool: 'lost', metric: 'millrace_oldest_wait_seconds' });
  expect(await bare.specs()).toEqual({});
  expect(bare.log()).toMatch(/needs a .*target/);
});

test('over TLS, to clients with a certificate alone, from the file that is in the image', async () => {
  const files = { cert: 'redis.crt', key: 'redis.key', ca: 'ca.crt' };
  const at = (file: string): string => join(folder, file);
  const args = [
    '--keda-scaler-tls-cert-file',
    at(files.cert),
    '--keda-scaler-tls-key-file',
    at(files.key),
    '--keda-scaler-client-ca-file',
    at(files.ca),
  ];
  const program = await bundledController();
  const { process, port: secure } = await startScaler('secure', 'secure', { args, program });
  await process.leading();
  await createPool('sealed');
  const { ca, cert, key } = certificates;
  const known = trigger({ pool: 'sealed' }, { caCert: ca, tlsClientCert: cert, tlsClientKey: key }, secure);
  await seen(known, DESIRED, 0, false);
  const stranger = trigger({ pool: 'sealed' }, { caCert: ca }, secure);
  await expect(stranger.metrics(DESIRED)).rejects.toThrow(/Unavailable/);
  const plain = trigger({ pool: 'sealed' }, {}, secure);
  await expect(plain.metrics(DESIRED)).rejects.toThrow(/Unavailable/);
});

test('a standby passes a trigger on to the leader, and answers it itself when it leads', async () => {
  const leader = await startScaler('pair', 'first');
  await leader.process.leading();
  const standby = await startScaler('pair', 'second');
  // it knows who leads
  await eventually(async () => expect((await standby.process.get('/readyz')).status).toBe(200), bounded);
  await createPool('pair');
  const keda = trigger({ pool: 'pair' }, {}, standby.port);
  await seen(keda, DESIRED, 0, false);
  await world.redis.client().lpush(queueOf('pair'), 'a');
  await pushed(keda, 0);
  const before = keda.pushes();
  await leader.process.stop();
  await standby.process.leading();
  // a new stream, and so a first push
  await pushed(keda, before);
  await seen(keda, DESIRED, 1, true);
});
