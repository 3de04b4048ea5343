/** Limits on a pool's page, as `millrace dev` serves it: seen, without leave to see tasks, and against a server of before. */
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Queue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import type { RedisServer } from '../support/redis.ts';
import { answerPool, misfits, openPage, seriousFindings } from './browser.ts';
import { startDevScene, type DevScene } from './dev-scene.ts';

const POOL = `apiVersion: millrace.dev/v1alpha1
kind: WorkerPool
metadata: { name: mail }
spec:
  queue: mail
  maxReplicas: 1
  concurrency: 2
  redis: { url: "redis://127.0.0.1:1" }
  limits:
    rate: 2/d
    burst: 2
    concurrency: 5
    perKey: { field: customer, concurrency: 1 }
`;

let scene: DevScene;
let browser: Browser;
let redis: RedisServer;
let queue: Queue;
let folder: string;
let url: string;

/** As wide as a key is shown, without a place to break it. */
const ACME = `acme-${'x'.repeat(70)}`;

beforeAll(async () => {
  scene = await startDevScene({ queue: 'mail', pool: POOL });
  ({ browser, redis, queue, folder } = scene);
  url = `${scene.url}#/pools/dev/mail`;
  await eventually(async () => expect(await queue.limits.show()).toBeDefined(), { withinMs: 60_000 });
  const tasks = [ACME, ACME, ACME, ACME, 'globex', 'initech'].map((customer, n) =>
    JSON.stringify({ id: `mail-${n}`, customer, untilFile: join(folder, 'never') }),
  );
  await redis.client().lpush('mail', ...tasks);
  await eventually(
    async () => expect(await queue.limits.show()).toMatchObject({ held: 3, running: 2, waiting: 1 }),
    { withinMs: 90_000 },
  );
});
afterAll(() => scene?.[Symbol.asyncDispose]());

const limits = (page: Page) => page.getByRole('region', { name: 'Limits' });
const limit = (page: Page, name: string) => limits(page).getByRole('listitem').filter({ hasText: name });

describe.each([375, 1440])('at %i px', (width) => {
  test.each(['light', 'dark'] as const)('they fit, and axe finds nothing serious: %s', async (scheme) => {
    await using look = await openPage(browser, url, { width, scheme });
    const { page } = look;
    await limit(page, '2/d (burst 2)').getByText('holds back 1 task').waitFor();
    await limit(page, '2/d (burst 2)').getByText('0 of 2 may begin now').waitFor();
    await limit(page, '5 at once').getByText('2 of 5 in flight').waitFor();
    await limit(page, '5 at once').getByRole('meter', { name: '5 at once' }).waitFor();
    await limit(page, 'for each customer 1 at once').getByText('holds back 3 tasks').waitFor();
    await limit(page, ACME).getByText('1 of 1 in flight').waitFor();
    await limit(page, ACME).getByText('the next when one ends').waitFor();
    await limits(page)
      .getByText(/^set by millrace dev /)
      .waitFor();
    expect(await misfits(page)).toEqual([]);
    expect(await seriousFindings(page)).toEqual([]);
  });
});

test('a controller of the version before has none, and the rest of the page is there', async () => {
  await using look = await openPage(browser, 'about:blank', { width: 1440, expected: /Failed to load|ERR_/ });
  const { page } = look;
  await answerPool(page, 'mail', (whole) => {
    const { limits: _limits, ...parts } = whole.parts;
    return { ...whole, parts };
  });
  await page.goto(url);
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
  expect(await page.getByRole('heading', { name: 'Limits' }).count()).toBe(0);
});

test('where tasks are hidden, it says so in place of the keys; of several queues, each has its name', async () => {
  await using look = await openPage(browser, 'about:blank', { width: 375, expected: /Failed to load|ERR_/ });
  const { page } = look;
  await answerPool(page, 'mail', (whole) => {
    const about = { ...whole.about, showTasks: false };
    const shown = (whole.parts.limits ?? []).map((one) => Object.assign(one, { keys: [] }));
    const other = shown.map((one) => ({ ...one, queue: 'post' }));
    return { ...whole, about, parts: { ...whole.parts, limits: [...shown, ...other] } };
  });
  await page.goto(url);
  await limits(page).getByText('Keys are values of tasks, which are not shown here').waitFor();
  await limits(page).getByText('queue post').waitFor();
  expect(await limits(page).getByText(ACME).count()).toBe(0);
  expect(await misfits(page)).toEqual([]);
  expect(await seriousFindings(page)).toEqual([]);
});
