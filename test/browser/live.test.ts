/** What a person is at, on a page whose data changes meanwhile: the focus, a half-typed text, a question, a choice, a search. */
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Queue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import type { RedisServer } from '../support/redis.ts';
import { openPage } from './browser.ts';
import { startDevScene, type DevScene } from './dev-scene.ts';

let scene: DevScene;
let browser: Browser;
let redis: RedisServer;
let queue: Queue;
let folder: string;
/** With the token. */
let full: string;
/** The dead letters of a test; another's may be on the page for a moment, as viewers share a read. */
let bad: readonly [string, string];
let round = 0;

beforeAll(async () => {
  scene = await startDevScene({ queue: 'tiles', args: ['--max', '1'] });
  ({ browser, redis, queue, folder, full } = scene);
});
afterAll(() => scene?.[Symbol.asyncDispose]());

/** Tasks that are dead letters now. */
async function fail(...ids: string[]): Promise<void> {
  await queue.enqueueMany(ids.map((id) => ({ id, final: true })));
  await eventually(
    async () => expect((await queue.dead()).map(({ id }) => id)).toEqual(expect.arrayContaining(ids)),
    {
      withinMs: 90_000,
    },
  );
}

async function idsOfDead(): Promise<(string | undefined)[]> {
  return (await queue.dead()).map(({ id }) => id);
}

async function openPool(page: Page): Promise<void> {
  await page.getByRole('link', { name: 'tiles' }).click();
  await page.locator('.link.live').waitFor();
}

const focused = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const { activeElement } = document;
    return activeElement?.getAttribute('aria-label') ?? activeElement?.textContent ?? '';
  });

beforeEach(async () => {
  await queue.resume();
  await queue.dead.drop('all');
  round++;
  bad = [`bad-${round}-a`, `bad-${round}-b`];
  await fail(...bad);
});

test('a dialog that is closed, or has done its work, gives the focus back', async () => {
  await using look = await openPage(browser, full, { width: 375 });
  const { page } = look;
  await openPool(page);
  for (const name of ['Pause', 'Drop all']) {
    await page.getByRole('button', { name }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(await focused(page)).toBe(name);
  }
  await page.getByRole('button', { name: 'Pause' }).focus();
  await page.keyboard.press('Enter');
  await page.keyboard.type('the disk is full');
  await page.keyboard.press('Enter');
  await page.getByText('the disk is full').waitFor();
  await expect.poll(() => focused(page)).toBe('Resume');
});

test('a dialog asks what it asked, and keeps what was typed, while Redis is away and others act', async () => {
  await using look = await openPage(browser, full, { width: 375 });
  const { page } = look;
  await openPool(page);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.keyboard.type('the disk ');
  redis.stop();
  try {
    await page.locator('.notice.bad').waitFor();
    await page.getByText('Redis does not answer: the workers are unknown.').waitFor();
    await page.keyboard.type('is full');
  } finally {
    redis.cont();
  }
  await page.locator('.notice.bad').waitFor({ state: 'detached' });
  await queue.pause('somebody else');
  await page.getByText('somebody else').waitFor();
  await page.keyboard.press('Enter');
  await page.getByText('the disk is full').waitFor();
  expect((await queue.inspect()).pause?.reason).toBe('the disk is full');
});

test('a question about a batch of a long name fits a phone', async () => {
  const id = 'b'.repeat(190);
  await queue.batch([{ id: 'never', untilFile: join(folder, 'never') }], { id });
  await using look = await openPage(browser, full, { width: 375 });
  const { page } = look;
  await openPool(page);
  await page.getByRole('button', { name: /^Cancel bbb/ }).click();
  const dialog = page.getByRole('dialog');
  expect(await dialog.evaluate((element) => element.scrollWidth - element.clientWidth)).toBe(0);
  await dialog.getByRole('button', { name: 'Cancel the batch' }).click();
  await dialog.waitFor({ state: 'detached' });
  await eventually(async () => expect((await queue.batch.show(id))?.state).toBe('cancelled'), {
    withinMs: 90_000,
  });
});

test('to drop all drops those that were on the page when it was asked', async () => {
  await using look = await openPage(browser, full, { width: 1440 });
  const { page } = look;
  await openPool(page);
  await page.getByRole('checkbox', { name: bad[1] }).waitFor();
  await page.getByRole('button', { name: 'Drop all' }).click();
  await page.getByRole('heading', { name: 'Drop 2 dead letters?' }).waitFor();
  await fail('late');
  await page.getByText('late', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Drop', exact: true }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  expect(await idsOfDead()).toEqual(['late']);
});

test('a chosen dead letter stays in sight, however many come after it', async () => {
  await using look = await openPage(browser, full, { width: 1440 });
  const { page } = look;
  await openPool(page);
  const first = page.getByRole('checkbox', { name: bad[0] });
  await first.focus();
  await page.keyboard.press('Space');
  const more = Array.from({ length: 20 }, (_, i) => `more-${i}`);
  await fail(...more);
  await page.getByText('more-19', { exact: true }).waitFor();
  await page.getByText('22 tasks', { exact: true }).waitFor();
  expect(await first.isChecked()).toBe(true);
  expect(await focused(page)).toContain(bad[0]);
});

test('what has the focus and goes leaves it to the title of its section', async () => {
  await using look = await openPage(browser, full, { width: 1440 });
  const { page } = look;
  await openPool(page);
  await page.getByRole('checkbox', { name: bad[1] }).focus();
  await queue.dead.drop('all');
  await page.getByText('No task has failed for good.').waitFor();
  expect(await focused(page)).toBe('Dead letters');
});

test('the table of the charts stays open for another range', async () => {
  await using look = await openPage(browser, full, { width: 375 });
  const { page } = look;
  await openPool(page);
  await page.getByText('The same as a table').click();
  await page.getByRole('columnheader', { name: 'Wait p95' }).waitFor();
  for (const range of ['6 h', '15 min (live)']) {
    await page.getByRole('button', { name: range }).click();
    await page.getByRole('button', { name: range, pressed: true }).waitFor();
    await page.getByRole('columnheader', { name: 'Wait p95' }).waitFor();
    expect(await focused(page)).toBe(range);
  }
});

test('another page has the focus, and the list is found as it was left', async () => {
  await using look = await openPage(browser, full, { width: 1440 });
  const { page } = look;
  await page.getByRole('link', { name: 'tiles' }).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('til');
  await page.getByRole('link', { name: 'tiles' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Decisions' }).waitFor();
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('content');
  await page.keyboard.press('Tab');
  expect(await focused(page)).toBe('Pause');
  await page.goBack();
  await page.getByRole('link', { name: 'tiles' }).waitFor();
  expect(await page.getByLabel('Search by name, namespace or queue').inputValue()).toBe('til');
});
