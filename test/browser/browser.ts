/**
 * Chromium, as Debian packs it, without a window. A page that it opens is watched: what the console says in anger, errors that
 * nobody caught, requests to elsewhere and violations of the content security policy are collected, and a test that disposes
 * of the page fails with them.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import type { PoolPage } from '../../controller/dashboard/api.ts';

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome'];

/** The first browser in PATH. Throws an Error that says what to install. */
function findChromium(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  for (const path of PROGRAMS.flatMap((name) => folders.map((folder) => join(folder, name))))
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // the next one
    }
  throw new Error(`none of ${PROGRAMS.join(', ')} is in PATH: install chromium`);
}

export function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    // root, as in a container of CI, has no sandbox; only our own page is opened
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

export interface Look {
  readonly width: number;
  readonly height?: number;
  readonly scheme?: 'light' | 'dark';
  /** What may be said in the console. */
  readonly expected?: RegExp;
}

export interface WatchedPage extends AsyncDisposable {
  readonly page: Page;
  /** What went wrong so far. */
  readonly troubles: readonly string[];
}

/** A page of its own, with nothing kept from others. */
export async function openPage(browser: Browser, url: string, look: Look): Promise<WatchedPage> {
  const { width, height = 900, scheme = 'light', expected } = look;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  // for a machine that is busy with other things; nothing waits for so long on one that is not
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  const troubles: string[] = [];
  const trouble = (text: string): void => {
    if (!expected?.test(text)) troubles.push(text);
  };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) trouble(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => trouble(`not caught: ${error.message}`));
  const { origin } = new URL(url);
  page.on('request', (request) => {
    const to = request.url();
    if (origin !== 'null' && !to.startsWith(`${origin}/`) && !to.startsWith('data:'))
      trouble(`a request to ${to}`);
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) =>
      console.error(`policy violated: ${violatedDirective} ${blockedURI} ${sample}`),
    );
  });
  await page.goto(url);
  return {
    page,
    troubles,
    [Symbol.asyncDispose]: async () => {
      await context.close();
      if (troubles.length > 0) throw new Error(`the page was not well:\n${troubles.join('\n')}`);
    },
  };
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface AxeResults {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string | null;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

/** What axe finds that is serious or critical, a line for each; with all that is less with it, when there is any. */
export async function seriousFindings(page: Page): Promise<string[]> {
  // evaluated by the debugger, which no policy of the page concerns
  await page.evaluate(axe);
  const { violations } = await page.evaluate<AxeResults>(
    `axe.run(document, { resultTypes: ['violations'] })`,
  );
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary = '' }) => `${id}: ${html} ${failureSummary}`),
    );
}

/** What does not fit: boxes that reach out of the window to the right, and texts of one row that lie on one another. */
export function misfits(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = [];
    const name = (element: Element): string =>
      `${element.tagName.toLowerCase()}.${element.getAttribute('class') ?? ''} "${(element.textContent ?? '').trim().slice(0, 40)}"`;
    const wide = document.documentElement;
    if (wide.scrollWidth > wide.clientWidth)
      found.push(`the page is ${wide.scrollWidth} wide in ${wide.clientWidth}`);
    const hidden = (element: Element): boolean =>
      element.closest('.sr, .skip, .bubble, .scroll, [aria-hidden="true"], thead') !== null;
    // what holds text itself
    const texts = [...document.querySelectorAll('body *')].filter(
      (element) =>
        !hidden(element) &&
        element.checkVisibility() &&
        [...element.childNodes].some((node) => node.nodeType === 3 && (node.textContent ?? '').trim() !== ''),
    );
    const boxes = texts.map((element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      // where the text is cut, the box is what one sees
      const text = range.getBoundingClientRect();
      const box = element.getBoundingClientRect();
      const cut = getComputedStyle(element).overflow !== 'visible';
      return { element, rect: cut ? box : text };
    });
    for (const { element, rect } of boxes)
      if (rect.right > innerWidth + 1 || rect.left < -1)
        found.push(`${name(element)} reaches out of the window`);
    for (const [i, a] of boxes.entries())
      for (const b of boxes.slice(i + 1)) {
        if (a.element.contains(b.element) || b.element.contains(a.element)) continue;
        const x = Math.min(a.rect.right, b.rect.right) - Math.max(a.rect.left, b.rect.left);
        const y = Math.min(a.rect.bottom, b.rect.bottom) - Math.max(a.rect.top, b.rect.top);
        // lines of one paragraph overlap by a pixel or two
        if (x > 1 && y > 4) found.push(`${name(a.element)} lies on ${name(b.element)}`);
      }
    return found;
  });
}

/** What the page of a pool of `millrace dev` gets of the server, changed, and then nothing more. */
export async function answerPool(
  page: Page,
  pool: string,
  change: (whole: PoolPage) => PoolPage,
): Promise<void> {
  await page.route(`**/api/pools/dev/${pool}`, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: change((await response.json()) as PoolPage) });
  });
  // changes would bring back what was left out
  await page.route('**/api/events*', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: '' }),
  );
}
