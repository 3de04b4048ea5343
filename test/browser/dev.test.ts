/** The dashboard as `millrace dev` serves it: a real pool at work, in a real browser. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Queue } from '../../queue/queue.ts';
import { misfits, openPage, seriousFindings } from './browser.ts';
import { startDevScene, type DevScene } from './dev-scene.ts';
import { eventually } from '../support/eventually.ts';
import { startPrefixProxy } from '../support/prefixproxy.ts';
import type { RedisServer } from '../support/redis.ts';

const WIDTHS = [375, 1440];
const SCHEMES = ['light', 'dark'] as const;

let scene: DevScene;
let browser: Browser;
let redis: RedisServer;
let program: DevScene['program'];
let queue: Queue;
/** With the token, and the same without. */
let full: string;
let url: string;

beforeAll(async () => {
  scene = await startDevScene({ queue: 'tiles', args: ['--max', '3', '--target-wait', '2s'] });
  ({ browser, redis, program, queue, full, url } = scene);
  await queue.enqueueMany(Array.from({ length: 40 }, (_, i) => ({ id: `tile-${i}`, sleepMs: 100 })));
  await queue.enqueueMany(Array.from({ length: 3 }, (_, i) => ({ id: `bad-${i}`, final: true })));
  await eventually(async () => expect((await queue.inspect()).dead).toBe(3), { withinMs: 90_000 });
});
afterAll(() => scene?.[Symbol.asyncDispose]());

const live = (page: Page): Promise<void> => page.locator('.link.live').waitFor();
const POOL = '#/pools/dev/tiles';

describe.each(WIDTHS)('at %i px', (width) => {
  test.each(SCHEMES)('list and pool fit, and axe finds nothing serious: %s', async (scheme) => {
    await using look = await openPage(browser, url, { width, scheme });
    const { page } = look;
    await page.getByRole('link', { name: 'tiles' }).waitFor();
    await live(page);
    expect(await misfits(page)).toEqual([]);
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole('link', { name: 'tiles' }).click();
    await page.getByRole('heading', { name: 'Decisions' }).waitFor();
    await page.locator('.mark').first().waitFor();
    expect(await misfits(page)).toEqual([]);
    expect(await seriousFindings(page)).toEqual([]);
  });
});

test('it is live: pushed tasks show up without a reload, in the list, the charts and the decisions', async () => {
  await using look = await openPage(browser, url + POOL, { width: 1440 });
  const { page } = look;
  await live(page);
  const decisions = await page.locator('.decisions li').count();
  await queue.enqueueMany(Array.from({ length: 60 }, (_, i) => ({ id: `more-${i}`, sleepMs: 500 })));
  await page
    .locator('.figures div', { hasText: 'In flight' })
    .locator('dd', { hasText: /^[1-3]/ })
    .waitFor();
  await page.getByRole('img', { name: /^Tasks over time\. waiting: .* at most [1-9]/ }).waitFor();
  await page
    .getByRole('row', { name: /more-\d/ })
    .first()
    .waitFor();
  await eventually(
    async () => expect(await page.locator('.decisions li').count()).toBeGreaterThan(decisions),
    {
      withinMs: 60_000,
    },
  );
});

test('with the keyboard alone: search, a pool, the decisions on the timeline', async () => {
  await using look = await openPage(browser, url, { width: 1440 });
  const { page } = look;
  await page.getByRole('link', { name: 'tiles' }).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('no such pool');
  await page.getByRole('heading', { name: 'No matching pools' }).waitFor();
  expect(await misfits(page)).toEqual([]);
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('til');
  const focused = (): Promise<string> =>
    page.evaluate(() => {
      const { activeElement } = document;
      return activeElement?.getAttribute('aria-label') ?? activeElement?.textContent ?? '';
    });
  const outlined = (): Promise<boolean> =>
    page.evaluate(() => {
      const { activeElement } = document;
      if (!activeElement) return false;
      return [undefined, '::after'].some(
        (part) => getComputedStyle(activeElement, part).outlineStyle === 'solid',
      );
    });
  const tabTo = async (what: RegExp): Promise<void> => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press('Tab');
      await expect.poll(outlined).toBe(true);
      if (what.test(await focused())) return;
    }
    throw new Error(`the keyboard does not reach ${what}`);
  };
  await tabTo(/^tiles$/);
  await page.keyboard.press('Enter');
  await page.locator('.mark').first().waitFor();
  await tabTo(/^(\d+ decisions(, the last of them)?: )?\d\d:\d\d:\d\d: .*waiting/);
  expect(await page.locator('.bubble').textContent()).toMatch(/waiting/);
  const first = await focused();
  await page.keyboard.press('End');
  await page.keyboard.press('Home');
  expect(await page.locator('.mark').count()).toBeGreaterThan(0);
  expect(first).not.toBe('');
  await tabTo(/The same as a table/);
  await page.keyboard.press('Enter');
  await page.getByRole('columnheader', { name: 'Wait p95' }).waitFor();
});

test('the focus stays on a decision whose mark merges with others', async () => {
  await using look = await openPage(browser, url, { width: 1440 });
  const { page } = look;
  await page.clock.install();
  await page.goto(url + POOL);
  await live(page);
  const marks = page.locator('.mark');
  await eventually(async () => expect(await marks.count()).toBeGreaterThan(1), { withinMs: 60_000 });
  await page.locator('.mark[tabindex="0"]').focus();
  await page.keyboard.press('End');
  const focused = page.locator('.mark:focus');
  const [decision = ''] = /\d\d:\d\d:\d\d: .*$/.exec((await focused.getAttribute('aria-label')) ?? '') ?? [];
  expect(decision).not.toBe('');
  await page.clock.fastForward(600_000);
  await page.setViewportSize({ width: 375, height: 900 });
  await eventually(async () => expect(await marks.count()).toBe(1));
  expect(await focused.getAttribute('aria-label')).toContain(decision);
  expect(await page.locator('.bubble').textContent()).toContain('waiting');
});

test.each(WIDTHS)('hours and days of the timeline, by keyboard and by address, at %i px', async (width) => {
  const line = queue.keys.timeline('dev/tiles');
  const client = redis.client();
  await eventually(async () => expect(await client.xlen(line)).toBeGreaterThan(0), { withinMs: 60_000 });
  await using look = await openPage(browser, url + POOL, { width });
  const { page } = look;
  await page.getByRole('button', { name: '15 min (live)', pressed: true }).focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: '6 h', pressed: true }).waitFor();
  await page.getByText('10 s entries, in steps of 60 s: the most in each').waitFor();
  await page.getByRole('img', { name: /^Tasks over time\. waiting: .* at most [1-9]/ }).waitFor();
  await page.locator('.mark').first().waitFor();
  expect(page.url()).toContain(`${POOL}?range=6h`);
  await page.getByRole('button', { name: '7 d' }).click();
  await page.reload();
  await page.getByRole('heading', { name: 'The last 7 d' }).waitFor();
  await page.getByRole('img', { name: /^Replicas over time\. current: .* at most [1-9]/ }).waitFor();
  expect(await misfits(page)).toEqual([]);
  expect(await seriousFindings(page)).toEqual([]);
});

test('actions need the token: without it nothing is offered, with a wrong one nothing is done', async () => {
  await using plain = await openPage(browser, url + POOL, { width: 1440, expected: /401/ });
  const { page } = plain;
  await live(page);
  await page.getByText('bad-2').waitFor();
  expect(await page.getByRole('button', { name: /Requeue|Drop|Pause/ }).count()).toBe(0);
  await page.getByRole('button', { name: 'Unlock' }).click();
  expect(await seriousFindings(page)).toEqual([]);
  await page.getByLabel('Token').fill('not the token at all');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Drop all' }).click();
  await page.getByRole('button', { name: 'Drop', exact: true }).click();
  await page.getByRole('alert').getByText('this is not the token').waitFor();
  expect((await queue.inspect()).dead).toBe(3);
});

test('with the token: requeue one, drop one, pause and resume', async () => {
  // what other tests have pushed is done
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ waiting: 0, inFlight: 0 }));
  await using look = await openPage(browser, full, { width: 1440 });
  const { page } = look;
  await page.getByRole('link', { name: 'tiles' }).click();
  expect(page.url()).not.toContain('token');
  await page.getByRole('checkbox', { name: /bad-1/ }).check();
  await page.getByRole('button', { name: 'Drop 1', exact: true }).click();
  await page.getByRole('button', { name: 'Drop', exact: true }).click();
  await page.getByRole('checkbox', { name: /bad-1/ }).waitFor({ state: 'detached' });
  expect((await queue.dead()).map(({ id }) => id)).toEqual(expect.arrayContaining(['bad-0', 'bad-2']));

  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByLabel('Reason, shown to everyone').fill('the disk is full');
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
  await page.getByText('the disk is full').waitFor();
  expect((await queue.inspect()).pause?.reason).toBe('the disk is full');
  await page.getByRole('checkbox', { name: /bad-0/ }).check();
  await page.getByRole('button', { name: 'Requeue 1', exact: true }).click();
  await page.getByRole('button', { name: 'Requeue', exact: true }).click();
  await page.getByRole('checkbox', { name: /bad-0/ }).waitFor({ state: 'detached' });
  expect(await queue.inspect()).toMatchObject({ waiting: 1, dead: 1 });
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click();
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ waiting: 0, dead: 2 }), {
    withinMs: 60_000,
  });
});

test('behind a prefix of a proxy, all the same', async () => {
  await using proxy = await startPrefixProxy(new URL(url).origin, '/ops/millrace');
  await using look = await openPage(browser, `${proxy.url}/`, { width: 1440 });
  await look.page.getByRole('link', { name: 'tiles' }).click();
  await look.page.getByRole('heading', { name: 'Decisions' }).waitFor();
  await live(look.page);
  expect(look.page.url()).toContain('/ops/millrace/dashboard/#/pools/dev/tiles');
});

test('a page elsewhere whose name leads here reads nothing', async () => {
  const { port } = new URL(url);
  const { request } = await import('node:http');
  const status = await new Promise((resolve, reject) => {
    const headers = { host: 'attacker.example' };
    request({ port, path: '/dashboard/api/pools', headers }, (response) => resolve(response.statusCode))
      .once('error', reject)
      .end();
  });
  expect(status).toBe(421);
});

test('when Redis or the server is unreachable, the page reports it and keeps its last data', async () => {
  await using look = await openPage(browser, url + POOL, { width: 375, expected: /Failed to load|ERR_/ });
  const { page } = look;
  await live(page);
  await redis.kill();
  await page.locator('.notice.bad', { hasText: /numbers below are from/ }).waitFor({ timeout: 90_000 });
  await page.getByText('Redis does not answer: the workers are unknown.').waitFor();
  expect(await misfits(page)).toEqual([]);
  expect(await seriousFindings(page)).toEqual([]);
  await redis.start();
  await page.locator('.notice.bad').waitFor({ state: 'detached', timeout: 90_000 });
  program.child.kill('SIGKILL');
  await program.ended;
  await page.locator('.banner', { hasText: 'Not live' }).waitFor();
  expect(await page.getByRole('heading', { name: 'tiles' }).count()).toBe(1);
  expect(await misfits(page)).toEqual([]);
  expect(await seriousFindings(page)).toEqual([]);
});
