/** The dashboard as a controller serves it, on a real API server: a thousand pools, none, and two controllers. */
import type { Redis } from 'ioredis';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Overview } from '../../controller/dashboard/api.ts';
import { POOLS } from '../../kube/resources.ts';
import { startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { rightIs } from '../support/rights.ts';
import { playDeployments, poolManifest, startWorld, type World } from '../support/world.ts';
import { misfits, openPage, seriousFindings, startBrowser } from './browser.ts';

const POOL_COUNT = 1_000;
const BUSY = 50;

let world: World;
let browser: Browser;
let redis: Redis;
const playing = new AbortController();
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld(), startBrowser()]);
  redis = world.redis.client();
  await playDeployments(world.transport, playing.signal);
});
afterAll(async () => {
  playing.abort();
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
});

const start = (namespace: string, args: readonly string[] = []): Promise<ControllerProcess> =>
  startController({
    kubeconfig: world.server.kubeconfig,
    args: ['--namespace', namespace, '--dashboard', '--dashboard-auth', 'none', ...args],
    env: { POD_IP: '127.0.0.1' },
  });

const urlOf = ({ port }: ControllerProcess): string => `http://127.0.0.1:${port}`;

const overview = async (controller: ControllerProcess): Promise<Overview> =>
  JSON.parse((await controller.get('/dashboard/api/pools')).body) as Overview;

test('a thousand pools: drawn together, searched, sorted and scrolled to the last', async () => {
  const namespace = await world.namespace();
  const names = Array.from({ length: POOL_COUNT }, (_, i) => `pool-${String(i).padStart(4, '0')}`);
  for (let i = 0; i < names.length; i += 50)
    await Promise.all(
      names
        .slice(i, i + 50)
        .map((name) => world.objects.create(POOLS, namespace, poolManifest(name, world.redis))),
    );
  await using controller = await start(namespace);
  await controller.leading(120_000);
  await eventually(
    async () =>
      expect((await overview(controller)).pools.filter(({ known }) => known)).toHaveLength(POOL_COUNT),
    { withinMs: 120_000, everyMs: 1_000 },
  );
  for (const name of names.slice(0, BUSY)) await redis.lpush(name, 'a', 'b', 'c');
  const url = `${urlOf(controller)}/dashboard/`;
  await using look = await openPage(browser, 'about:blank', { width: 1440 });
  const { page } = look;
  const began = performance.now();
  await page.goto(url);
  await page.getByRole('link', { name: 'pool-0000' }).waitFor();
  const drawn = performance.now() - began;
  // rows that nobody sees are not drawn
  expect(await page.getByRole('row').count()).toBeLessThan(80);
  await page
    .getByRole('table', { name: 'Pools' })
    .and(page.locator(`[aria-rowcount="${POOL_COUNT + 1}"]`))
    .waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  const frames = page.evaluate(
    () =>
      new Promise<number[]>((resolve) => {
        const took: number[] = [];
        let last = performance.now();
        const next = (now: number): void => {
          took.push(now - last);
          last = now;
          window.scrollBy(0, 600);
          if (took.length < 120) requestAnimationFrame(next);
          else resolve(took);
        };
        requestAnimationFrame(next);
      }),
  );
  const sorted = (await frames).toSorted((a, b) => a - b);
  console.log(
    `${POOL_COUNT} pools drawn ${Math.round(drawn)} ms after the address was opened; frames while scrolling: ` +
      `p50 ${Math.round(sorted[60] ?? 0)} ms, p95 ${Math.round(sorted[114] ?? 0)} ms`,
  );
  await page.getByRole('link', { name: 'pool-0999' }).waitFor();
  expect(await misfits(page)).toEqual([]);
  await page.getByLabel('Search by name, namespace or queue').fill('0777');
  await page.getByRole('link', { name: 'pool-0777' }).waitFor();
  await page.getByText('1 pool shown').waitFor();
  await page.getByLabel('Search by name, namespace or queue').fill('');
  await page.getByRole('button', { name: 'Waiting', exact: true }).click();
  await expect.poll(() => page.getByRole('row').nth(1).textContent()).toMatch(/pool-00/);

  // several browsers, and not much to tell them once each pool has been decided on
  await eventually(
    async () =>
      expect((await overview(controller)).pools.filter(({ decision }) => decision === null)).toEqual([]),
    { withinMs: 120_000, everyMs: 1_000 },
  );
  const heard = await bytesASecond(
    `${urlOf(controller)}/dashboard/api/events?since=${(await overview(controller)).seq}`,
    5_000,
  );
  console.log(
    `events of ${POOL_COUNT} pools, ${BUSY} of them with work that nobody takes: ${Math.round(heard)} bytes a second`,
  );
  expect(heard).toBeLessThan(10_000);
});

/** From the first part of an answer to the last one in so long: a time of its own has five of a second's events, or six. */
async function bytesASecond(url: string, ms: number): Promise<number> {
  const response = await fetch(url, { signal: AbortSignal.timeout(ms) });
  let first: number | undefined;
  let last = 0;
  let bytes = 0;
  try {
    for await (const part of response.body ?? []) {
      last = performance.now();
      if (first === undefined) first = last;
      else bytes += (part as Uint8Array).length;
    }
  } catch {
    // its time is over
  }
  return first === undefined || last === first ? 0 : (1_000 * bytes) / (last - first);
}

test('no pools: the page describes how to create one, and shows it once it exists; nothing can be changed', async () => {
  const namespace = await world.namespace();
  await using controller = await start(namespace);
  await controller.leading(120_000);
  await using look = await openPage(browser, `${urlOf(controller)}/dashboard/`, {
    width: 375,
    scheme: 'dark',
  });
  const { page } = look;
  await page.getByRole('heading', { name: 'No pools yet' }).waitFor();
  expect(await misfits(page)).toEqual([]);
  expect(await seriousFindings(page)).toEqual([]);
  const url = 'redis://someone:hunter2@127.0.0.1:1';
  await world.objects.create(POOLS, namespace, poolManifest('secretive', { url }));
  await page.getByRole('link', { name: 'secretive' }).click();
  await page.locator('.notice.bad').waitFor();
  await page.getByText('Read-only').or(page.locator('.tool.still')).first().waitFor();
  expect(await misfits(page)).toEqual([]);
  await page.getByText('Queue', { exact: true }).click();
  await page.getByText('redis://127.0.0.1:1').waitFor();
  expect(await page.content()).not.toContain('hunter2');
  expect((await controller.get(`/dashboard/api/pools/${namespace}/secretive`)).body).not.toContain('hunter2');
  const answer = await fetch(`${urlOf(controller)}/dashboard/api/pools/${namespace}/secretive/actions`, {
    method: 'POST',
    headers: { authorization: 'Bearer 0123456789abcdef' },
    body: '{"do":"resume"}',
  });
  expect([answer.status, await answer.json()]).toEqual([
    403,
    { error: expect.stringContaining('read-only') },
  ]);
});

test('a pool of another library: its workers, what they hold and how old that is, and none of the tools of our own', async () => {
  const namespace = await world.namespace();
  await redis.xgroup('CREATE', 'orders', 'workers', '0', 'MKSTREAM');
  await redis.xadd('orders', '*', 'order', '1');
  await redis.xreadgroup('GROUP', 'workers', 'shop-5d9c-x7k2p', 'STREAMS', 'orders', '>');
  await redis.xgroup('CREATECONSUMER', 'orders', 'workers', 'shop-5d9c-idle1');
  const library = { queue: undefined, result: undefined };
  const source = { stream: { keys: ['orders'], group: 'workers' } };
  await world.objects.create(POOLS, namespace, poolManifest('shop', world.redis, { ...library, source }));
  const list = { list: { keys: ['jobs'] } };
  await world.objects.create(
    POOLS,
    namespace,
    poolManifest('plain', world.redis, { ...library, source: list }),
  );
  await using controller = await start(namespace);
  await controller.leading(120_000);
  await using look = await openPage(browser, `${urlOf(controller)}/dashboard/`, { width: 1440 });
  const { page } = look;
  await page.getByRole('link', { name: 'shop' }).click();
  const workers = page.getByRole('region', { name: 'Workers' });
  await workers.getByText('2 workers').waitFor();
  expect(await workers.getByRole('row').allTextContents()).toEqual([
    'WorkerStateTasksLast askedAs of',
    expect.stringMatching(/^shop-5d9c-x7k2pbusy1\d.* agonow$/),
    expect.stringMatching(/^shop-5d9c-idle1idle0\d.* agonow$/),
  ]);
  expect(await page.getByRole('heading', { name: 'Dead letters' }).count()).toBe(0);
  expect(await seriousFindings(page)).toEqual([]);
  expect(await misfits(page)).toEqual([]);
  await page.goto(`${urlOf(controller)}/dashboard/#/pools/${namespace}/plain`);
  await workers.getByText(/The workers are not known, because a task that was popped from a list/).waitFor();
});

test('the focus stays on a pool whose row moves, also in a browser that takes it away for that', async () => {
  const namespace = await world.namespace();
  const names = ['one', 'two', 'three'];
  for (const name of names) {
    await world.objects.create(POOLS, namespace, poolManifest(name, world.redis, { queue: `moves-${name}` }));
    await redis.lpush(`moves-${name}`, 'a');
  }
  await using controller = await start(namespace);
  await controller.leading(120_000);
  await using look = await openPage(browser, `${urlOf(controller)}/dashboard/`, { width: 1440 });
  const { page } = look;
  // as in Safari
  await page.addInitScript(() => Reflect.deleteProperty(Element.prototype, 'moveBefore'));
  await page.reload();
  await page.getByRole('button', { name: 'Waiting', exact: true }).click();
  const firstIs = (name: string): Promise<void> =>
    page.getByRole('row').nth(1).getByRole('link', { name }).waitFor();
  await page.getByRole('link', { name: 'two' }).focus();
  for (const [round, name] of ['three', 'two', 'one', 'two'].entries()) {
    await redis.lpush(`moves-${name}`, ...Array.from({ length: 10 * (round + 1) }, () => 'a'));
    await firstIs(name);
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('two');
  }
});

test("two controllers: the standby shows the leader's data, and takes over when that is gone", async () => {
  const namespace = await world.namespace();
  await world.objects.create(POOLS, namespace, poolManifest('shared', world.redis));
  const args = ['--leader-election', '--lease-namespace', namespace];
  await using first = await start(namespace, args);
  await first.leading(120_000);
  await using second = await start(namespace, args);
  await eventually(async () => expect((await second.get('/readyz')).status).toBe(200), { withinMs: 60_000 });
  await eventually(async () => expect((await overview(second)).pools[0]?.known).toBe(true), {
    withinMs: 60_000,
  });
  await using look = await openPage(browser, `${urlOf(second)}/dashboard/`, {
    width: 1440,
    expected: /Failed to load|ERR_/,
  });
  const { page } = look;
  await page.getByRole('link', { name: 'shared' }).waitFor();
  await redis.lpush('shared', 'a', 'b', 'c', 'd', 'e', 'f');
  await page.locator('td.waiting .big', { hasText: /^6/ }).waitFor();
  await first.stop();
  await second.leading(120_000);
  await page.locator('.link.live').waitFor();
  await redis.lpush('shared', 'g');
  await page.locator('td.waiting .big', { hasText: /^7/ }).waitFor();
});

test('by rights in Kubernetes: a token is asked for, shows what it may, and is forgotten', async () => {
  const namespace = await world.namespace();
  await world.objects.create(POOLS, namespace, poolManifest('guarded', world.redis));
  await using controller = await startController({
    kubeconfig: world.server.kubeconfig,
    args: ['--namespace', namespace, '--dashboard'],
  });
  await controller.leading(120_000);
  const kubectl = (...args: string[]): Promise<string> => world.server.kubectl(['-n', namespace, ...args]);
  await kubectl('create', 'serviceaccount', 'reader');
  await kubectl('create', 'role', 'see', '--verb=list', '--resource=workerpools.millrace.dev');
  await kubectl('create', 'rolebinding', 'see', '--role=see', `--serviceaccount=${namespace}:reader`);
  const right = { verb: 'list', namespace, group: 'millrace.dev', resource: 'workerpools' };
  await rightIs(world.transport, `system:serviceaccount:${namespace}:reader`, right, true);
  const token = (await kubectl('create', 'token', 'reader')).trim();
  await using look = await openPage(browser, `${urlOf(controller)}/dashboard/`, {
    width: 1440,
    expected: /Failed to load|ERR_|401/,
  });
  const { page } = look;
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  expect(await misfits(page)).toEqual([]);
  await page.getByLabel('Token').fill('not a token');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('does not know this token').waitFor();
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('link', { name: 'guarded' }).waitFor();
  await page.locator('.link.live').waitFor();
  await redis.lpush('guarded', 'a', 'b', 'c', 'd');
  await page.locator('td.waiting .big', { hasText: /^4/ }).waitFor();
  await page.reload();
  await page.getByRole('link', { name: 'guarded' }).click();
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('alert').getByText('may not patch workerpools').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  expect(await page.content()).not.toContain(token);
});
