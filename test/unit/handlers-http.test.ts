/** A server that runs tasks: its requests, the meaning of its responses, and its restarts. */
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenHandler } from '../../worker/task/handler.ts';
import { HandlerLoadError } from '../../worker/handlers/errors.ts';
import { openHttp, type HttpHandlerOptions } from '../../worker/handlers/http.ts';
import { HttpError } from '../../worker/handlers/http-answer.ts';
import { contextOf } from '../fixtures/processes.ts';
import { failure, handlerSuite, run } from '../fixtures/handler-suite.ts';
import { startTaskServer, type TaskServer } from '../fixtures/task-server.ts';

const suite = handlerSuite();
let server: TaskServer;
beforeEach(async () => {
  server = await startTaskServer();
});
afterEach(() => server[Symbol.asyncDispose]());

async function open(rest: Partial<HttpHandlerOptions> = {}): Promise<OpenHandler> {
  const log = (line: string): void => suite.book.log(line, { pid: 0 });
  const stopping = new AbortController().signal;
  return suite.own(await openHttp({ url: server.url, log, stopping, ...rest }));
}

describe('a request', () => {
  test('is a POST of the task, byte for byte, both ways', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 128, 0]);
    expect(await run(await open(), bytes)).toEqual(bytes);
    expect(server.received).toMatchObject([{ method: 'POST', path: '/run', body: bytes }]);
    expect(server.received[0]?.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': '6',
      'millrace-task-id': 'id',
      'millrace-attempt': '1',
      'millrace-queue': 'queue',
    });
  });

  test('may be large, both ways', async () => {
    const bytes = Buffer.alloc(10 * 1024 * 1024, 'millrace');
    const result = await run(await open(), bytes);
    expect(Buffer.isBuffer(result) && result.equals(bytes)).toBe(true);
  });

  test('names a JSON task as such, and brings the trace that it belongs to', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const trace = { traceparent, tracestate: 'vendor=x' };
    const handler = await open();
    const task = { id: 'a' };
    await handler.handle(task, contextOf(JSON.stringify(task), { attempt: 3, trace }));
    await run(handler, 'b');
    const [first, second] = server.received;
    expect(first?.headers).toMatchObject({
      'content-type': 'application/json',
      'millrace-attempt': '3',
      traceparent,
      tracestate: 'vendor=x',
    });
    expect(second?.headers).not.toHaveProperty('traceparent');
  });

  test.each([
    ['tiles/7 of 12', 'tiles/7%20of%2012'],
    ['100%\r\nx: y', '100%25%0D%0Ax:%20y'],
    ['Straße 🏭', 'Stra%C3%9Fe%20%F0%9F%8F%AD'],
    ['half \ud83c', 'half%20%EF%BF%BD'],
  ])('percent-encodes what a header cannot hold: %j', async (id, written) => {
    await run(await open(), 'x', { id });
    expect(server.received[0]?.headers['millrace-task-id']).toBe(written);
    expect(decodeURIComponent(written)).toBe(id.toWellFormed());
  });

  test('leaves out an id that is too long for a header', async () => {
    await run(await open(), 'x', { id: 'x'.repeat(4097) });
    expect(server.received[0]?.headers).not.toHaveProperty('millrace-task-id');
  });

  test('goes over connections that are kept', async () => {
    const handler = await open();
    const before = server.connections.made;
    for (let i = 0; i < 20; i++) await run(handler, `task ${i}`);
    expect(server.connections.made - before).toBe(1);
    await Promise.all(Array.from({ length: 20 }, (_, i) => run(handler, `task ${i}`)));
    expect(server.connections.made - before).toBeLessThanOrEqual(20);
  });
});

describe('an answer', () => {
  test.each([[200], [201], [204]])('%d: its body is the result', async (status) => {
    const said = status === 204 ? '' : 'made';
    expect(String(await run(await open(), `status ${status} ${said}`))).toBe(said);
  });

  test.each([[400], [401], [404], [410], [413], [422]])('%d is final', async (status) => {
    const error = await failure(run(await open(), `status ${status} no such tile`));
    expect(error).toMatchObject({
      message: `POST ${server.url} answered ${status}: no such tile`,
      retry: false,
    });
  });

  test.each([[408], [409], [425], [429], [500], [502], [503], [504], [302]])(
    '%d is a failed attempt',
    async (status) => {
      const error = await failure(run(await open(), `status ${status}`));
      expect(error).toBeInstanceOf(HttpError);
      expect(error.message).toBe(`POST ${server.url} answered ${status}, without a body`);
      expect(error).not.toHaveProperty('retry');
      expect(error).not.toHaveProperty('retryAfter');
    },
  );

  test.each([
    ['120', 120_000, 120_000],
    ['0', 0, 0],
    ['99999999999999999999', 9_223_372_036_854, 9_223_372_036_854],
    ['Wed, 21 Oct 2015 07:28:00 GMT', 0, 0],
    [new Date(Date.now() + 3_600_000).toUTCString(), 3_500_000, 3_600_000],
  ])('Retry-After: %s', async (text, least, most) => {
    const after: unknown = Reflect.get(await failure(run(await open(), `later ${text}`)), 'retryAfter');
    expect(after).toBeGreaterThanOrEqual(least);
    expect(after).toBeLessThanOrEqual(most);
  });

  test.each([['soon'], ['-1'], ['']])('an invalid Retry-After: %j', async (text) => {
    expect(await failure(run(await open(), `later ${text}`))).not.toHaveProperty('retryAfter');
  });

  test('that is no result is read no further than it is of use', async () => {
    const error = await failure(run(await open(), 'endless 500'));
    expect(error.message).toBe(`POST ${server.url} answered 500: ${'x'.repeat(1024)}`);
    await expect.poll(() => server.connections.open).toBe(0);
  });

  test('that is cut off is no result', async () => {
    const error = await failure(run(await open(), 'half'));
    expect(error.message).toMatch(/^POST .* failed: aborted/);
    expect(error).not.toHaveProperty('retry');
  });

  test('that never comes fails the attempt', async () => {
    const error = await failure(run(await open(), 'die'));
    expect(error.message).toMatch(/^POST .* failed: .*socket hang up/);
    expect(error.cause).toBeInstanceOf(Error);
  });

  test('that is late fails the attempt, where there is a timeout', async () => {
    const handler = await open({ timeoutMs: 50 });
    const error = await failure(run(handler, 'hang'));
    expect(error.message).toBe(`POST ${server.url}: no whole answer within 50ms`);
    expect(error).not.toHaveProperty('retry');
    await expect.poll(() => server.connections.open).toBe(0);
    // on a busy machine, this one may be late as well
    await expect.poll(() => run(handler, 'in time').then(String, () => 'late')).toBe('in time');
  });

  test('may take as long as a timeout of weeks allows', async () => {
    const handler = await open({ timeoutMs: 30 * 86_400_000 });
    for (let i = 0; i < 10; i++)
      await expect(run(handler, `no ${i}`)).resolves.toEqual(Buffer.from(`no ${i}`));
  });

  test('of a server that closes its connections loses no task', async () => {
    const handler = await open();
    for (let i = 0; i < 10; i++) {
      const tasks = Array.from({ length: 4 }, (_, j) => `goodbye ${i} ${j}`);
      const results = await Promise.all(tasks.map((task) => run(handler, task)));
      expect(results.map(String)).toEqual(tasks.map((task) => task.slice('goodbye '.length)));
    }
  });

  test('names the server without user, password and query', async () => {
    const url = server.url.replace('//', '//user:secret@').concat('?token=secret');
    const error = await failure(run(await open({ url }), 'fail no'));
    expect(error.message).toBe(`POST ${server.url} answered 500: no`);
    expect(server.received[0]).toMatchObject({
      path: '/run?token=secret',
      headers: { authorization: `Basic ${btoa('user:secret')}` },
    });
  });
});

describe('a server that is not there', () => {
  test('is waited for: no task is taken before it listens', async () => {
    const { port, url } = server;
    await server[Symbol.asyncDispose]();
    const opening = open({ url });
    const where = `waiting for ${url} to listen before taking tasks: connect ECONNREFUSED 127.0.0.1:${port}`;
    await suite.book.wait(where);
    server = await startTaskServer(port);
    expect(String(await run(await opening, 'hello'))).toBe('hello');
    expect(suite.book.lines).toEqual([where, `${url} listens; taking tasks`]);
  });

  test('is waited for no longer when the worker is to stop', async () => {
    const { url } = server;
    await server[Symbol.asyncDispose]();
    const stopping = new AbortController();
    const opening = open({ url, stopping: stopping.signal });
    await expect.poll(() => suite.book.lines).toHaveLength(1);
    stopping.abort();
    await opening;
    server = await startTaskServer();
  });

  test('later on: tasks wait for it, and none fails', async () => {
    const { port, url } = server;
    const handler = await open();
    await run(handler, 'first');
    await server[Symbol.asyncDispose]();
    const tasks = Promise.all(['a', 'b'].map((task) => run(handler, task)));
    const gone = `${url} cannot be reached; tasks wait: connect ECONNREFUSED 127.0.0.1:${port}`;
    await suite.book.wait(gone);
    server = await startTaskServer(port);
    expect((await tasks).map(String)).toEqual(['a', 'b']);
    expect(suite.book.lines).toEqual([gone, `${url} answers again`]);
  });

  test('for too long fails the attempt', async () => {
    const { port, url } = server;
    const handler = await open({ reachTimeoutMs: 100 });
    await server[Symbol.asyncDispose]();
    const error = await failure(run(handler, 'x'));
    expect(error.message).toBe(`POST ${url} failed: HttpError: connect ECONNREFUSED 127.0.0.1:${port}`);
    expect(error).not.toHaveProperty('retry');
    server = await startTaskServer();
  });

  test('may be cancelled meanwhile', async () => {
    const { url } = server;
    const handler = await open();
    await server[Symbol.asyncDispose]();
    const controller = new AbortController();
    const attempt = failure(run(handler, 'x', { signal: controller.signal }));
    await expect.poll(() => suite.book.lines).toHaveLength(1);
    controller.abort(new Error('cancelled'));
    expect((await attempt).message).toBe('stopped: cancelled');
    expect(suite.book.lines[0]).toContain(url);
    server = await startTaskServer();
  });
});

test.each([['127.0.0.1:9000'], ['ftp://127.0.0.1/'], [''], ['/run']])('%j is no address', async (url) => {
  await expect(open({ url })).rejects.toThrow(HandlerLoadError);
});

test('an id of bytes that are no text is percent-encoded, byte for byte', async () => {
  await run(await open(), Buffer.from([0x7b, 0xff, 0x25]), { id: Buffer.from([0x7b, 0xff, 0x25]) });
  expect(server.received[0]?.headers['millrace-task-id']).toBe('{%FF%25');
});

describe('a connection that is closed', () => {
  /** Opens kept connections, as tasks that run side by side do. */
  async function warm(handler: OpenHandler, connections: number): Promise<void> {
    await Promise.all(Array.from({ length: connections }, (_, i) => run(handler, `warm ${i}`)));
    expect(server.connections.open).toBe(connections);
  }
  const timesOf = (task: string): number =>
    server.received.filter(({ body }) => body.toString() === task).length;

  test('while the request is at work fails the attempt: it is not sent again', async () => {
    const handler = await open();
    await warm(handler, 8);
    expect((await failure(run(handler, 'work 300'))).message).toMatch(
      /failed: .*(socket hang up|ECONNRESET)/,
    );
    expect(timesOf('work 300')).toBe(1);
  });

  test('at once is asked for once more, whatever is kept', async () => {
    const handler = await open();
    await warm(handler, 8);
    await failure(run(handler, 'die'));
    expect(timesOf('die')).toBeLessThanOrEqual(2);
  });
});

test.each([['open'], ['closed']])(
  'a server that switches protocols and leaves the connection %s',
  async (how) => {
    const switching = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';
    const odd = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => (how === 'open' ? socket.write(switching) : socket.end(switching)));
    });
    await once(odd.listen(0, '127.0.0.1'), 'listening');
    await using closing = new AsyncDisposableStack();
    closing.defer(() => void odd.close());
    const handler = await open({ url: `http://127.0.0.1:${(odd.address() as AddressInfo).port}/` });
    expect((await failure(run(handler, 'task'))).message).toMatch(
      /failed: .*switched protocols \(status 101\)/,
    );
  },
);

test.each([
  [
    'http://user:pass@10.0.0.7:9/',
    /the user name and password of --http are sent to 10\.0\.0\.7 without encryption/,
  ],
  ['http://user:pass@127.0.0.1:9/', undefined],
  ['http://10.0.0.7:9/', undefined],
])('%s is warned of: %s', async (url, warning) => {
  const lines: string[] = [];
  await using _handler = await openHttp({
    url,
    log: (line) => lines.push(line),
    stopping: AbortSignal.abort(),
  });
  expect(lines.join()).not.toContain('pass@');
  expect(lines).toEqual(warning ? [expect.stringMatching(warning)] : []);
});
