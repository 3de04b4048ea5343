/** The choices of the local pool, and the handling of its workers' output. */
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { crashPause } from '../../cli/dev/crash-pause.ts';
import { nextStarts } from '../../cli/dev/local-target.ts';
import { readLogLine } from '../../cli/dev/log-line.ts';
import { workerProgram, type WorkerSettings } from '../../cli/dev/worker-program.ts';
import { deploymentOf } from '../../controller/act/deployment.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { completeSpec } from '../support/complete-pool.ts';

test('the pause after crashes doubles up to half a minute', () => {
  expect([0, 1, 2, 3, 7, 50].map(crashPause)).toEqual([0, 500, 1_000, 2_000, 30_000, 30_000]);
});

test.for([
  ['all that are missing', { missing: 3, broken: false, pauseMs: 0, ready: false }, { start: 3 }],
  ['too many are there', { missing: -1, broken: true, pauseMs: 50, ready: true }, { start: 0 }],
  [
    'a pause after a crash',
    { missing: 3, broken: true, pauseMs: 50, ready: true },
    { start: 0, retryMs: 51 },
  ],
  ['one at a time after it', { missing: 3, broken: true, pauseMs: 0, ready: true }, { start: 1 }],
  ['not before the last one is ready', { missing: 3, broken: true, pauseMs: -9, ready: false }, { start: 0 }],
] as const)('workers to start: %s', ([, situation, expected]) => {
  expect(nextStarts(situation)).toEqual(expected);
});

describe('lines of a worker', () => {
  test.each([
    ['plain text of the user', 'hello', undefined, 'hello', false],
    ['JSON of the user', '{"level":5,"msg":"x"}', undefined, '{"level":5,"msg":"x"}', false],
    ['something broken', '{"level":"info","msg":', undefined, '{"level":"info","msg":', false],
    [
      'ready',
      '{"level":"info","time":"t","name":"millrace-worker","event":"ready","msg":"any words"}',
      'info',
      'any words',
      true,
    ],
    [
      'registered with one of several queues',
      '{"level":"info","time":"t","event":"registered","epoch":3,"msg":"ready"}',
      'info',
      'ready',
      false,
    ],
    [
      'an error',
      '{"level":"warn","err":{"type":"E","message":"no","stack":"at x"},"msg":"failed"}',
      'warn',
      'failed (error: no)',
      false,
    ],
    [
      'a warning with details',
      '{"level":"warn","time":"t","task":"a","attempt":2,"msg":"failed"}',
      'warn',
      'failed (task: a, attempt: 2)',
      false,
    ],
    [
      "the command's stderr",
      '{"level":"info","line":"oh","msg":"stderr of the command"}',
      undefined,
      'oh',
      false,
    ],
  ])('%s', (_, line, level, text, ready) => {
    expect(readLogLine(line)).toMatchObject({ level, text, ready });
  });
});

test("the last line of a failed worker is distinguished from its task's output", () => {
  const printed = '{"level":"info","line":"millrace-worker: mine","msg":"stderr of the command"}';
  const lines = ['millrace-worker: the module does not load', 'hello', printed];
  expect(lines.map((line) => readLogLine(line).failure)).toEqual([true, false, false]);
});

test("a worker's environment has the settings, and none of our variables from the caller", () => {
  const { env } = workerProgram(
    {
      redis: { url: 'redis://h:1/2', password: 'secret' },
      queue: 'q',
      result: 'r',
      command: 'cat',
      concurrency: 3,
      graceMs: 1_500,
      retry: { attempts: 2, backoff: { initialMs: 10, maxMs: 60_000, jitter: false } },
    },
    'w-1',
    { HOME: '/home/me', MILLRACE_MODULE: 'other.ts', MILLRACE_HTTP_PORT: '80' },
  );
  expect(env).toEqual({
    HOME: '/home/me',
    MILLRACE_WORKER_ID: 'w-1',
    MILLRACE_REDIS_URL: 'redis://h:1/2',
    MILLRACE_REDIS_PASSWORD: 'secret',
    MILLRACE_QUEUE: 'q',
    MILLRACE_RESULT: 'r',
    MILLRACE_COMMAND: 'cat',
    MILLRACE_CONCURRENCY: '3',
    MILLRACE_GRACE: '1.5s',
    MILLRACE_ATTEMPTS: '2',
    MILLRACE_BACKOFF_INITIAL: '10ms',
    MILLRACE_BACKOFF_MAX: '1m',
    MILLRACE_BACKOFF_JITTER: 'off',
  });
});

test('what is in files stays there: a worker of millrace dev gets their paths, and no value', () => {
  const files = {
    url: '/s/url',
    password: '/s/password',
    ca: '/s/ca.crt',
    cert: '/s/tls.crt',
    key: 'tls.key',
  };
  const credentials = { current: () => ({}), onChange: () => () => undefined, files };
  const { env } = workerProgram(
    {
      redis: {
        url: 'redis://app:secret@h:1/2',
        password: 'secret',
        tls: { ca: 'secret', cert: 'secret', key: 'secret', serverName: 'redis' },
        credentials,
      },
      queue: 'q',
      result: 'r',
      command: 'cat',
      concurrency: 3,
      graceMs: 1_500,
      retry: { attempts: 2, backoff: { initialMs: 10, maxMs: 60_000, jitter: false } },
    },
    'w-1',
    {},
  );
  expect(JSON.stringify(env)).not.toContain('secret');
  expect(env).toMatchObject({
    MILLRACE_REDIS_URL_FILE: '/s/url',
    MILLRACE_REDIS_PASSWORD_FILE: '/s/password',
    MILLRACE_REDIS_TLS: 'true',
    MILLRACE_REDIS_TLS_CA_FILE: '/s/ca.crt',
    MILLRACE_REDIS_TLS_CERT_FILE: '/s/tls.crt',
    MILLRACE_REDIS_TLS_KEY_FILE: resolve('tls.key'),
    MILLRACE_REDIS_TLS_SERVER_NAME: 'redis',
  });
});

test('a worker of millrace dev gets every setting that one in a pod gets, but for the pool and its Redis', () => {
  const { source: _, ...spec } = completeSpec;
  const metadata = { namespace: 'shop', name: 'tiles', uid: 'u-1' };
  const pool = { metadata, spec } as unknown as WorkerPool;
  const { env: inPod = [] } = deploymentOf(pool, 30).spec.template.spec?.containers[0] ?? {};
  const settings: Partial<Required<WorkerSettings>> = {
    redis: {},
    queue: 'q',
    queues: ['q'],
    priorities: ['high'],
    result: 'r',
    concurrency: 3,
    graceMs: 1_500,
    retry: { attempts: 2, maxDeliveries: 2, backoff: { initialMs: 10, maxMs: 60_000, jitter: false } },
    tasks: { maxBytes: 1_000 },
    results: { ttlMs: 1_000, maxBytes: 1_000 },
    deadLetters: { max: 10, maxAgeMs: 1_000 },
  };
  const { env } = workerProgram(settings as WorkerSettings, 'w-1', {});
  const missing = inPod
    .map(({ name }) => name)
    .filter((name) => !(name in env) && !/^MILLRACE_(POOL$|REDIS_)/.test(name));
  // dev waits for no replicas of Redis
  expect(missing).toEqual(['MILLRACE_DURABILITY_REPLICAS', 'MILLRACE_DURABILITY_TIMEOUT']);
});
