/** Batches and cron tasks on a pool's page, as `millrace dev` serves it: seen, cancelled, and against a server of before. */
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Queue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { answerPool, misfits, openPage, seriousFindings } from './browser.ts';
import { startDevScene, type DevScene } from './dev-scene.ts';

const POOL = `apiVersion: millrace.dev/v1alpha1
kind: WorkerPool
metadata: { name: tiles }
spec:
  queue: tiles
  maxReplicas: 2
  concurrency: 2
  retry: { attempts: 1 }
  redis: { url: "redis://127.0.0.1:1" }
  crons:
    - { name: tick, schedule: "* * * * *", task: { kind: tick } }
    - { name: weekly, schedule: "0 8 * * 1", timeZone: America/New_York, task: { kind: weekly }, suspend: true }
`;

let scene: DevScene;
let browser: Browser;
let queue: Queue;
let folder: string;
/** With the token, and the same without. */
let full: string;
let url: string;

beforeAll(async () => {
  scene = await startDevScene({ queue: 'tiles', pool: POOL });
  ({ browser, queue, folder, full } = scene);
  url = `${scene.url}#/pools/dev/tiles`;
  await queue.batch([{ n: 0 }, { n: 1 }, { final: true }], { id: 'mosaic', then: { kind: 'join' } });
  await queue.batch([{ n: 0 }, { n: 1 }], { id: 'thumbnails', then: { kind: 'join' } });
  await queue.batch([{ n: 0, untilFile: join(folder, 'never') }], { id: 'endless' });
  await eventually(
    async () => {
      expect(await queue.batch.show('mosaic')).toMatchObject({ waiting: 1, succeeded: 2 });
      expect(await queue.batch.show('thumbnails')).toMatchObject({ state: 'ended' });
    },
    { withinMs: 90_000 },
  );
});
afterAll(() => scene?.[Symbol.asyncDispose]());

const section = (page: Page, name: string) => page.getByRole('region', { name });
const batch = (page: Page, name: string) =>
  section(page, 'Batches').getByRole('listitem').filter({ hasText: name });

describe.each([375, 1440])('at %i px', (width) => {
  test.each(['light', 'dark'] as const)('they fit, and axe finds nothing serious: %s', async (scheme) => {
    await using look = await openPage(browser, url, { width, scheme });
    const { page } = look;
    await batch(page, 'mosaic').getByText('waits for dead letters').waitFor();
    await batch(page, 'mosaic').getByText('It ends when 1 dead letter is requeued').waitFor();
    await batch(page, 'mosaic').getByRole('progressbar', { name: 'mosaic' }).waitFor();
    await batch(page, 'mosaic').getByText('2 of 3 done').waitFor();
    await batch(page, 'thumbnails').getByText('ended', { exact: true }).waitFor();
    await section(page, 'Cron tasks').getByText('suspended').waitFor();
    expect(await misfits(page)).toEqual([]);
    expect(await seriousFindings(page)).toEqual([]);
  });
});

test('a cron task was pushed in its minute, and its end is seen', async () => {
  await using look = await openPage(browser, url, { width: 1440 });
  const tick = section(look.page, 'Cron tasks').getByRole('listitem').filter({ hasText: 'tick' });
  await tick.getByText(/^tick:\d{4}-\d\d-\d\dT\d\d:\d\d:00Z$/).waitFor();
  await tick.getByText('succeeded').waitFor();
  await tick.getByText(/^in \d+ s$|^now$/).waitFor();
});

test('with the token a batch is cancelled, after a question; without it nothing is offered', async () => {
  await using plain = await openPage(browser, url, { width: 1440 });
  await batch(plain.page, 'endless').waitFor();
  expect(await plain.page.getByRole('button', { name: /Cancel/ }).count()).toBe(0);

  await using look = await openPage(browser, full, { width: 375 });
  const { page } = look;
  await page.getByRole('link', { name: 'tiles' }).click();
  await page.getByRole('button', { name: 'Cancel endless' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').getByText('1 part has not ended').waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await page.getByRole('button', { name: 'Keep it' }).click();
  expect(await queue.batch.show('endless')).toMatchObject({ state: 'running' });
  await page.getByRole('button', { name: 'Cancel endless' }).click();
  await page.getByRole('button', { name: 'Cancel the batch' }).click();
  await batch(page, 'endless')
    .getByText(/^cancell(ing|ed)$/)
    .waitFor();
  await eventually(
    async () => expect(await queue.batch.show('endless')).toMatchObject({ state: 'cancelled' }),
    {
      withinMs: 60_000,
    },
  );
  await batch(page, 'endless').getByText('cancelled', { exact: true }).waitFor();
  expect(await page.getByRole('button', { name: 'Cancel endless' }).count()).toBe(0);
});

test('a controller of the version before has neither, and the rest of the page is there', async () => {
  await using look = await openPage(browser, 'about:blank', { width: 1440, expected: /Failed to load|ERR_/ });
  const { page } = look;
  await answerPool(page, 'tiles', (whole) => {
    const { batches: _batches, crons: _crons, ...parts } = whole.parts;
    return { ...whole, parts };
  });
  await page.goto(url);
  await page.getByRole('heading', { name: 'Decisions' }).waitFor();
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
  expect(await page.getByRole('heading', { name: /Batches|Cron tasks/ }).count()).toBe(0);
});

test('where ids are hidden, batches have the time when they began', async () => {
  await using look = await openPage(browser, 'about:blank', { width: 375, expected: /Failed to load|ERR_/ });
  const { page } = look;
  await answerPool(page, 'tiles', (whole) => {
    const { batches } = whole.parts;
    const list = (batches?.list ?? []).map((one) => Object.assign(one, { id: null, why: null }));
    const about = { ...whole.about, showTasks: false };
    return { ...whole, about, parts: { ...whole.parts, batches: batches ? { ...batches, list } : null } };
  });
  await page.goto(url);
  await section(page, 'Batches')
    .getByText(/^Batch of \d\d:\d\d:\d\d$/)
    .first()
    .waitFor();
  await section(page, 'Batches').getByText('Ids of batches are not shown here').waitFor();
  expect(await misfits(page)).toEqual([]);
  expect(await seriousFindings(page)).toEqual([]);
});
