/** The dashboard over real HTTP: files, who leads, events. */
import { request as requestHttp } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDashboard, type Attached } from '../../controller/dashboard/dashboard.ts';
import type { Leader } from '../../controller/dashboard/forward.ts';
import { openGate } from '../../controller/dashboard/gate.ts';
import { createStrikes } from '../../controller/dashboard/strikes.ts';
import { withDefaults } from '../../kube/defaults.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { serveHttp, type HttpServer } from '../../runtime/http.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { eventually } from '../support/eventually.ts';
import { observation } from '../support/observations.ts';

const TOKEN = '0123456789abcdef';
const log = pino({ level: 'silent' });
const leaderAt = (address: string | undefined): Leader | undefined =>
  address === undefined ? undefined : { address };

interface Server {
  readonly http: HttpServer;
  readonly url: string;
  readonly attach: () => Attached;
}

async function serve(leader?: () => string | undefined): Promise<Server> {
  const spec = withDefaults({ redis: { url: 'redis://user:hunter2@redis' } });
  const metadata = { name: 'tiles', namespace: 'media' };
  const pool: WorkerPool = { apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', metadata, spec };
  const strikes = createStrikes({ log, counted: () => undefined, now: () => performance.now() });
  const dashboard = createDashboard({
    version: '1.2.3',
    host: 'controller',
    showTasks: false,
    gate: openGate(() => Promise.resolve(TOKEN), strikes),
    hostnames: ['127.0.0.1'],
    ...(leader ? { leader: () => leaderAt(leader()) } : {}),
    log,
    now: () => Date.now(),
  });
  const http = await serveHttp({
    port: 0,
    host: '127.0.0.1',
    metrics: createMetrics([]),
    unhealthy: () => undefined,
    unready: () => undefined,
    route: dashboard.route,
  });
  const source = {
    pools: new Map([['media/tiles', pool]]),
    sampled: () => undefined,
    queuesOf: () => undefined,
  };
  return { http, url: `http://127.0.0.1:${http.port}`, attach: () => dashboard.attach(source) };
}

let leading: Server;
let waiting: Server;
let shown: Attached;
let address: string | undefined;
beforeAll(async () => {
  leading = await serve();
  waiting = await serve(() => address);
  address = leading.url;
  shown = leading.attach();
});
afterAll(async () => {
  shown[Symbol.dispose]();
  await leading.http[Symbol.asyncDispose]();
  await waiting.http[Symbol.asyncDispose]();
});

/** Without what `fetch` does by itself: no redirects, no decompression. */
function get(
  url: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: Buffer }> {
  return new Promise((resolve, reject) => {
    requestHttp(url, { headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
      );
    })
      .once('error', reject)
      .end();
  });
}

describe('the page', () => {
  test.each(['/', '/dashboard'])(
    '%s leads to it, by an address that is right below any path',
    async (path) => {
      const { status, headers } = await get(leading.url + path);
      expect([status, headers['location']]).toEqual([302, 'dashboard/']);
    },
  );

  test('is compressed, and not sent again if unchanged', async () => {
    const plain = await get(`${leading.url}/dashboard/main.js`);
    const zipped = await get(`${leading.url}/dashboard/main.js`, { 'accept-encoding': 'gzip' });
    expect(gunzipSync(zipped.body)).toEqual(plain.body);
    const brotli = await get(`${leading.url}/dashboard/main.js`, { 'accept-encoding': 'gzip, br;q=0' });
    expect(brotli.headers['content-encoding']).toBe('gzip');
    const again = await get(`${leading.url}/dashboard/main.js`, {
      'if-none-match': String(plain.headers['etag']),
    });
    expect([again.status, again.body.length]).toEqual([304, 0]);
  });

  test('allows nothing from elsewhere, and names nothing with a path of its own', async () => {
    const { headers, body } = await get(`${leading.url}/dashboard/`);
    expect(headers['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self';/,
    );
    expect(headers['content-security-policy']).not.toContain('unsafe');
    expect(String(body)).not.toMatch(/(src|href)="(\/|https?:)|<style|style="|<script>/);
  });

  test('other paths stay what they were', async () => {
    expect((await get(`${leading.url}/healthz`)).status).toBe(200);
    expect((await get(`${leading.url}/dashboards`)).status).toBe(404);
    expect((await get(`${leading.url}/dashboard/../../package.json`)).status).toBe(404);
  });
});

test('a page elsewhere whose name was made to lead here reads nothing', async () => {
  const { port } = leading.http;
  const as = (host: string, more: Record<string, string> = {}): Promise<{ status: number }> =>
    get(`${leading.url}/dashboard/api/pools`, { host, ...more });
  expect((await as(`127.0.0.1:${port}`)).status).toBe(200);
  for (const host of ['evil.example', `evil.example:${port}`, `127.0.0.1.evil.example:${port}`, 'localhost.'])
    expect((await as(host)).status, host).toBe(421);
  // where everybody reads, no proxy is believed to be one
  expect((await as('evil.example', { 'x-forwarded-uri': '/x' })).status).toBe(421);
});

describe('a controller that does not lead', () => {
  test('hands on what the leader answers', async () => {
    const { status, body } = await get(`${waiting.url}/dashboard/api/pools`);
    expect([status, JSON.parse(String(body)).pools[0].key]).toEqual([200, 'media/tiles']);
    expect(String(body)).not.toContain('hunter2');
  });

  test('hands on events as they come', async () => {
    const { seq } = JSON.parse(String((await get(`${waiting.url}/dashboard/api/pools`)).body)) as {
      seq: string;
    };
    const ended = new AbortController();
    const response = await fetch(`${waiting.url}/dashboard/api/events?since=${seq}`, {
      signal: ended.signal,
    });
    let heard = '';
    const reading = (async () => {
      for await (const part of response.body ?? []) heard += Buffer.from(part as Uint8Array).toString();
    })().catch(() => undefined);
    shown.observed('media/tiles', observation({ at: Date.now(), waiting: 17, desired: 3 }));
    await eventually(() => expect(heard).toMatch(/event: change\ndata: .*"waiting":17/));
    ended.abort();
    await reading;
  });

  test('forwards an action with its token, and the response to a wrong one', async () => {
    const act = (token: string): Promise<Response> =>
      fetch(`${waiting.url}/dashboard/api/pools/media/tiles/actions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        body: '{"do":"resume"}',
      });
    expect((await act('wrong')).status).toBe(401);
    // there is no Redis behind this pool
    expect((await act(TOKEN)).status).toBe(503);
  });

  test('reports it if there is no leader, if the leader is gone, and if it would call itself', async () => {
    const error = async (): Promise<unknown> => {
      const { status, body } = await get(`${waiting.url}/dashboard/api/pools`);
      expect(status).toBe(503);
      return (JSON.parse(String(body)) as { error: string }).error;
    };
    address = undefined;
    expect(await error()).toMatch(/no controller leads right now/);
    address = 'http://127.0.0.1:1';
    expect(await error()).toMatch(/cannot be reached: .*ECONNREFUSED/);
    address = waiting.url;
    expect(await error()).toMatch(/no controller leads right now/);
    address = leading.url;
  });
});

test.each([
  ['GET', '/dashboard/api/pools/media/none', 404],
  ['GET', '/dashboard/api/events?pool=media/none', 404],
  ['GET', '/dashboard/api/nothing', 404],
  ['GET', '/dashboard/api/pools/media/tiles/actions', 405],
  ['POST', '/dashboard/api/pools', 405],
  ['DELETE', '/dashboard/api/pools/media/tiles', 405],
  ['POST', '/dashboard/', 405],
])('%s %s: %i', async (method, path, status) => {
  expect((await fetch(leading.url + path, { method })).status).toBe(status);
});
