/** The process: its flags, its end, what it serves over HTTP, and the events that it leaves on a pool. */
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { DEPLOYMENTS, EVENTS, POOLS } from '../../kube/resources.ts';
import { metric, startController } from '../support/controller.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { programEnv } from '../support/program-env.ts';
import { freePort } from '../support/ports.ts';
import { poolManifest } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage({ deployments: true });

const MAIN = join(import.meta.dirname, '../../controller/main.ts');

/** A run that ends by itself. */
function run(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: unknown; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env: { ...programEnv, ...env } }, (error, _out, stderr) =>
      resolve({ code: error?.code ?? 0, stderr }),
    );
  });
}

describe('one line, and the exit code that belongs to it', () => {
  const wrong: [what: string, args: string[], env: NodeJS.ProcessEnv, code: number, says: RegExp][] = [
    ['an unknown flag', ['--colour'], {}, 2, /unknown option '--colour'.*--help/],
    ['an argument too many', ['start'], {}, 2, /too many arguments.*--help/],
    ['a flag without its value', ['--lease-name'], {}, 2, /--lease-name <name>' argument missing/],
    ['a port that is none', ['--http-port', '70000'], {}, 2, /whole number from 0 to 65535/],
    ['an unknown log level', ['--log-level', 'loud'], {}, 2, /Allowed choices are trace, debug/],
    ['a bad variable', [], { MILLRACE_HTTP_PORT: 'web' }, 2, /MILLRACE_HTTP_PORT.*whole number/],
    ['a kubeconfig that is missing', ['--kubeconfig', '/nowhere/config'], {}, 1, /\/nowhere\/config/],
  ];
  test.concurrent.each(wrong)('%s', async (_what, args, env, code, says) => {
    const ended = await run(args, env);
    expect(ended).toEqual({ code, stderr: expect.stringMatching(says) });
    expect(ended.stderr).toMatch(/^millrace-controller: [^\n]+\n$/);
  });

  test.concurrent('a port in use', async () => {
    const other = createServer().listen(0);
    await once(other, 'listening');
    const port = String((other.address() as AddressInfo).port);
    const ended = await run(['--kubeconfig', stage.world.server.kubeconfig, '--http-port', port]);
    other.close();
    expect(ended).toEqual({
      code: 1,
      stderr: `millrace-controller: cannot listen on port ${port}: it is in use: choose another with --http-port\n`,
    });
  });
});

describe.each([[[]], [['--leader-election']]])('no API server, with %j', (args) => {
  test('it reports it from time to time, is alive but not ready, and stops immediately', async () => {
    const kubeconfig = `${stage.world.server.kubeconfig}.away${args.length}`;
    const cluster = { server: `https://127.0.0.1:${await freePort()}` };
    const contexts = [{ name: 'c', context: { cluster: 'c', user: 'u' } }];
    const rest = { users: [{ name: 'u', user: { token: 't' } }], contexts, 'current-context': 'c' };
    await writeFile(kubeconfig, JSON.stringify({ clusters: [{ name: 'c', cluster }], ...rest }));
    await sooner(3_000, async () => {
      const started = performance.now();
      await using away = await startController({ kubeconfig, args });
      const warnings = () => away.log().filter(({ level }) => level === 'warn');
      await eventually(() => expect(warnings().length).toBeGreaterThan(1));
      expect(warnings()[0]?.['err']).toMatchObject({
        message: expect.stringMatching(/Unreachable.*ECONNREFUSED/),
      });
      expect((await away.get('/healthz')).status).toBe(200);
      expect(await away.get('/readyz')).toEqual({
        status: 503,
        body: 'the API server has not been reached yet\n',
      });
      // three watches, or one lease, each with a growing pause: one warning more each time that as much time has passed again
      const seconds = (performance.now() - started) / 1e3;
      expect(warnings().length).toBeLessThan(Math.max(12, 3 * (2 + Math.log2(1 + seconds))));
      const told = performance.now();
      expect(await away.stop()).toEqual({ code: 0, signal: null });
      const took = performance.now() - told;
      expect(away.stderr()).not.toMatch(/^[^{]/m);
      return took;
    });
  });
});

test('healthz, readyz and nothing else', async () => {
  expect(await stage.controller.get('/healthz')).toEqual({ status: 200, body: 'ok\n' });
  expect(await stage.controller.get('/readyz')).toEqual({ status: 200, body: 'ok\n' });
  expect((await stage.controller.get('/')).status).toBe(404);
});

test('events report decisions and problems, metrics count them', async () => {
  const namespace = await stage.world.namespace();
  const scaling = { tasksPerReplica: 2, scaleDown: { window: '0s' } };
  const ref = { namespace, name: 'told' };
  await stage.world.objects.create(POOLS, namespace, poolManifest('told', stage.world.redis, { scaling }));
  const events = async (): Promise<string[]> =>
    (await stage.world.objects.list(EVENTS, namespace)).map(
      ({ type, reason, note }) => `${type} ${reason} ${note}`,
    );
  const page = async (): Promise<string> => (await stage.controller.get('/metrics')).body;

  await stage.redis.lpush('told', 'a', 'b', 'c', 'd', 'e');
  await eventually(async () =>
    expect(await events()).toContain('Normal ScaledUp 0→3: 5 waiting, 0 in flight, 2 tasks a replica'),
  );
  const labels = `{namespace="${namespace}",pool="told"}`;
  await eventually(async () => {
    const now = await page();
    expect(metric(now, `millrace_queue_length${labels}`)).toBe(5);
    expect(metric(now, `millrace_pool_desired_replicas${labels}`)).toBe(3);
    expect(metric(now, `millrace_pool_ready_replicas${labels}`)).toBe(3);
    expect(metric(now, 'millrace_scale_actions_total{direction="up",reason="ScaleUp"}')).toBe(1);
  });
  await stage.redis.del('told');
  await eventually(async () =>
    expect(await events()).toContainEqual(expect.stringMatching(/^Normal ScaledDown 3→0: 0 waiting/)),
  );
  await stage.redis.set('told', 'not a list');
  await eventually(
    async () =>
      expect(await events()).toContainEqual(
        expect.stringMatching(/^Warning RedisWrongKeyType .*"told" is not a list/),
      ),
    { withinMs: 40_000 },
  );
  await stage.redis.del('told');
  await eventually(async () =>
    expect(await events()).toContain('Normal RedisRecovered The queue is read again.'),
  );
  expect(await stage.world.server.kubectl(['describe', 'wp', 'told', '-n', namespace])).toContain('ScaledUp');
  expect((await stage.world.objects.get(DEPLOYMENTS, ref)).spec?.replicas).toBe(0);

  const names: string[] = [...(await page()).matchAll(/^# TYPE (millrace_\w+)/gm)]
    .map(([, name = '']) => name)
    .toSorted();
  const documented = await readFile(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  expect(names.length).toBeGreaterThan(30);
  for (const name of names) expect(documented, name).toContain(`| \`${name}\` |`);
});
