/** The dashboard and the metrics of a controller on a real API server: users see and do what kubectl would let them. */
import { execFile } from 'node:child_process';
import { mkdtempDisposable } from 'node:fs/promises';
import { get as getHttps } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRights } from '../../kube/rights.ts';
import { POOLS } from '../../kube/resources.ts';
import { metric, startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { poolManifest, startWorld, type World } from '../support/world.ts';

const bounded = { everyMs: 100 };

let world: World;
let controller: ControllerProcess;
let maps: string;
let shop: string;
/** Tokens by who has them. */
const tokens: Record<'all' | 'maps' | 'ops' | 'nobody', string> = { all: '', maps: '', ops: '', nobody: '' };

beforeAll(async () => {
  world = await startWorld();
  maps = await world.namespace();
  shop = await world.namespace();
  const kubectl = (...args: string[]): Promise<string> => world.server.kubectl(args);
  for (const name of Object.keys(tokens)) await kubectl('-n', maps, 'create', 'serviceaccount', name);
  const see = ['--verb=list', '--resource=workerpools.millrace.dev'];
  const act = ['--verb=list,patch', '--resource=workerpools.millrace.dev'];
  await kubectl('create', 'clusterrole', 'see', ...see);
  await kubectl('create', 'clusterrolebinding', 'see', '--clusterrole=see', `--serviceaccount=${maps}:all`);
  await kubectl('create', 'clusterrole', 'scrape', '--verb=get', '--non-resource-url=/metrics');
  await kubectl('create', 'clusterrolebinding', 's', '--clusterrole=scrape', `--serviceaccount=${maps}:ops`);
  await kubectl('-n', maps, 'create', 'role', 'see', ...see);
  await kubectl('-n', maps, 'create', 'rolebinding', 'see', '--role=see', `--serviceaccount=${maps}:maps`);
  await kubectl('-n', maps, 'create', 'role', 'act', ...act);
  await kubectl('-n', maps, 'create', 'rolebinding', 'act', '--role=act', `--serviceaccount=${maps}:ops`);
  for (const name of ['all', 'maps', 'ops', 'nobody'] as const)
    tokens[name] = (await kubectl('-n', maps, 'create', 'token', name)).trim();
  for (const namespace of [maps, shop])
    await world.objects.create(POOLS, namespace, poolManifest('tiles', world.redis));
  controller = await startController({
    kubeconfig: world.server.kubeconfig,
    args: ['--dashboard', '--metrics-auth', 'kubernetes'],
  });
  await controller.leading();
});
afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const api = (path: string, token?: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${controller.port}/dashboard/api/${path}`, {
    ...init,
    headers: token === undefined ? {} : { 'x-millrace-token': token },
  });

const keys = async (token: string): Promise<string[]> => {
  const { pools } = (await (await api('pools', token)).json()) as { pools: { key: string }[] };
  return pools.map(({ key }) => key).toSorted();
};

test('nothing is shown without a token, and the message has how to get one', async () => {
  for (const path of ['pools', 'events', `pools/${maps}/tiles`, `pools/${maps}/tiles/past?range=6h`]) {
    const response = await api(path);
    expect([path, response.status]).toEqual([path, 401]);
    expect(await response.json()).toEqual({
      error: expect.stringContaining('kubectl create token'),
      signIn: true,
    });
  }
  // the page that asks for one, and the probes
  for (const path of ['/dashboard/', '/healthz', '/readyz'])
    expect((await controller.get(path)).status, path).toBe(200);
});

test('pools are shown to users who may list them', async () => {
  await eventually(
    async () => expect(await keys(tokens.all)).toEqual([`${maps}/tiles`, `${shop}/tiles`]),
    bounded,
  );
  expect(await keys(tokens.maps)).toEqual([`${maps}/tiles`]);
  expect(await keys(tokens.nobody)).toEqual([]);
  expect((await api(`pools/${maps}/tiles`, tokens.maps)).status).toBe(200);
  // as if it were not there
  for (const path of [
    `pools/${shop}/tiles`,
    `events?pool=${shop}/tiles`,
    `pools/${shop}/tiles/past?range=6h`,
  ])
    expect((await api(path, tokens.maps)).status, path).toBe(404);
  expect((await api(`pools/${maps}/tiles`, tokens.nobody)).status).toBe(404);
});

test('events are of those pools only', async () => {
  const { seq } = (await (await api('pools', tokens.maps)).json()) as { seq: string };
  const ended = new AbortController();
  const response = await api(`events?since=${seq}`, tokens.maps, { signal: ended.signal });
  let heard = '';
  const reading = (async () => {
    for await (const part of response.body ?? []) heard += Buffer.from(part as Uint8Array).toString();
  })().catch(() => undefined);
  const redis = world.redis.client();
  await redis.lpush('tiles', 'a', 'b', 'c');
  await eventually(() => {
    expect(heard).toContain('event: change');
    expect(heard).toContain(`${maps}/tiles`);
  }, bounded);
  expect(heard).not.toContain(shop);
  ended.abort();
  await reading;
});

describe('acting', () => {
  const pause = (namespace: string, token: string): Promise<Response> =>
    api(`pools/${namespace}/tiles/actions`, token, { method: 'POST', body: '{"do":"pause","reason":"tea"}' });

  test('requires the right to patch pools there; the user is in the log', async () => {
    const refused = await pause(maps, tokens.maps);
    expect(refused.status).toBe(403);
    expect(await refused.json()).toEqual({
      error: `system:serviceaccount:${maps}:maps may not patch workerpools in namespace "${maps}"`,
    });
    expect((await pause(shop, tokens.ops)).status).toBe(404);
    await eventually(async () => expect((await pause(maps, tokens.ops)).status).toBe(200), bounded);
    await eventually(() => {
      const done = controller.log().find(({ msg }) => msg === 'dashboard action done');
      expect(done).toMatchObject({
        by: `system:serviceaccount:${maps}:ops`,
        pool: `${maps}/tiles`,
        action: 'pause',
      });
    }, bounded);
  });
});

test('an answer is cached for half a minute, and a revoked right is gone after that', async () => {
  let now = 0;
  const rights = createRights(world.transport, () => now);
  const { server } = world;
  await server.kubectl([
    '-n',
    shop,
    'create',
    'role',
    'see',
    '--verb=list',
    '--resource=workerpools.millrace.dev',
  ]);
  const binding = [
    '-n',
    shop,
    'create',
    'rolebinding',
    'see',
    '--role=see',
    `--serviceaccount=${maps}:nobody`,
  ];
  await server.kubectl(binding);
  const sees = (): Promise<boolean> => rights.may(tokens.nobody, { verb: 'list', namespace: shop });
  await eventually(async () => {
    now += 30_000;
    expect(await sees()).toBe(true);
  }, bounded);
  expect(await rights.userOf(tokens.nobody)).toBe(`system:serviceaccount:${maps}:nobody`);
  expect([rights.knows(tokens.nobody), rights.knows('other')]).toEqual([true, false]);
  await server.kubectl(['-n', shop, 'delete', 'rolebinding', 'see']);
  now += 29_999;
  expect(await sees()).toBe(true);
  await eventually(async () => {
    now += 30_000;
    expect(await sees()).toBe(false);
  }, bounded);
});

test('metrics are for users who may get their path', async () => {
  const scrape = async (token?: string): Promise<number> => {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return (await fetch(`http://127.0.0.1:${controller.port}/metrics`, { headers })).status;
  };
  expect(await scrape()).toBe(401);
  expect(await scrape(tokens.all)).toBe(403);
  expect(await scrape(tokens.ops)).toBe(200);
});

test('wrong tokens are logged and counted, and after some of them no more are asked about', async () => {
  const statuses: number[] = [];
  for (let i = 0; i < 14; i++) statuses.push((await api('pools', `guess-${i}`)).status);
  expect(statuses.filter((status) => status === 401).length).toBeGreaterThan(5);
  expect(statuses.at(-1)).toBe(429);
  // who is known goes on
  expect((await api('pools', tokens.all)).status).toBe(200);
  await eventually(
    () => expect(controller.log()).toContainEqual(expect.objectContaining({ kind: 'token' })),
    bounded,
  );
  expect(JSON.stringify(controller.log())).not.toContain('guess-');
  const response = await fetch(`http://127.0.0.1:${controller.port}/metrics`, {
    headers: { authorization: `Bearer ${tokens.ops}` },
  });
  expect(metric(await response.text(), 'millrace_refused_total{kind="token"}')).toBeGreaterThan(5);
});

test('with a certificate it is HTTPS, a controller that does not lead hands on by it, and to no other one', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'millrace-tls-'));
  const certificate = async (name: string): Promise<string[]> => {
    const [cert, key] = [join(folder.path, `${name}.crt`), join(folder.path, `${name}.key`)];
    const subject = ['-subj', '/CN=millrace', '-addext', 'subjectAltName=DNS:millrace'];
    const how = ['-newkey', 'rsa:2048', '-nodes', '-days', '2'];
    await promisify(execFile)('openssl', ['req', '-x509', ...how, ...subject, '-keyout', key, '-out', cert]);
    return ['--tls-cert-file', cert, '--tls-key-file', key];
  };
  const own = await certificate('own');
  const start = (tls: string[]): Promise<ControllerProcess> =>
    startController({
      kubeconfig: world.server.kubeconfig,
      args: ['--dashboard', '--dashboard-auth', 'none', '--leader-election', '--namespace', shop, ...tls],
      env: { POD_IP: '127.0.0.1' },
    });
  const ask = (port: number): Promise<[status: number, body: string]> =>
    new Promise((resolve, reject) => {
      const url = `https://127.0.0.1:${port}/dashboard/api/pools`;
      getHttps(url, { rejectUnauthorized: false, agent: false }, (response) => {
        let body = '';
        response.on('data', (part) => (body += String(part)));
        response.on('end', () => resolve([response.statusCode ?? 0, body]));
      }).once('error', reject);
    });
  await using leads = await start(own);
  await leads.leading();
  expect((await leads.get('/dashboard/')).status).toBe(0);
  await using waits = await start(own);
  await using stranger = await start(await certificate('other'));
  await eventually(
    async () => expect(await ask(waits.port)).toEqual([200, expect.stringContaining('tiles')]),
    bounded,
  );
  await eventually(
    async () =>
      expect(await ask(stranger.port)).toEqual([503, expect.stringContaining('another certificate')]),
    bounded,
  );
});
