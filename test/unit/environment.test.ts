/** Flags from environment variables: switches, empty ones, and secrets in files. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { QUEUE_OPTIONS, redisAddress, type QueueFlags } from '../../queue/flags.ts';
import {
  duration,
  integer,
  onOff,
  option,
  strict,
  withEnvironment,
  withOptions,
} from '../../runtime/program.ts';

/** What commander reads is the process's own environment. */
async function withVariables<T>(variables: NodeJS.ProcessEnv, use: () => T | Promise<T>): Promise<T> {
  Object.assign(process.env, variables);
  try {
    return await use();
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
  }
}

function program(): Command {
  return strict(new Command())
    .addOption(option('--loud', 'a switch', 'MILLRACE_T_LOUD'))
    .addOption(option('--shown', 'a switch with a default', 'MILLRACE_T_SHOWN').default(false))
    .addOption(option('--no-color', 'one that is on by default', 'MILLRACE_T_NO_COLOR'))
    .addOption(option('--many <n>', 'a number', 'MILLRACE_T_MANY').argParser(integer(1)).default(7))
    .addOption(option('--long <duration>', 'a time', 'MILLRACE_T_LONG').argParser(duration))
    .addOption(option('--name <text>', 'a text', 'MILLRACE_T_NAME').default('x'));
}

const parse = (
  variables: NodeJS.ProcessEnv,
  args: readonly string[] = [],
): Promise<Record<string, unknown>> =>
  withVariables(variables, () =>
    withEnvironment(program(), process.env).parse(args, { from: 'user' }).opts(),
  );

const PLAIN = { shown: false, color: true, many: 7, name: 'x' };

describe('a switch', () => {
  test.each(['true', 'TRUE', '1', 'on', 'yes', ' yes '])('%j is on', async (text) => {
    expect(await parse({ MILLRACE_T_LOUD: text, MILLRACE_T_SHOWN: text })).toEqual({
      ...PLAIN,
      loud: true,
      shown: true,
    });
    expect(await parse({ MILLRACE_T_NO_COLOR: text })).toEqual({ ...PLAIN, color: false });
  });

  test.each(['false', 'False', '0', 'off', 'no', '', ' '])('%j is off', async (text) => {
    const all = { MILLRACE_T_LOUD: text, MILLRACE_T_SHOWN: text, MILLRACE_T_NO_COLOR: text };
    expect(await parse(all)).toEqual(PLAIN);
    expect(await parse(all, ['--loud', '--shown'])).toEqual({ ...PLAIN, loud: true, shown: true });
  });

  test.each(['maybe', 'falsch', '2', 'null', '-'])('%j is refused', async (text) => {
    await expect(parse({ MILLRACE_T_SHOWN: text })).rejects.toThrow('MILLRACE_T_SHOWN must be true or false');
  });
});

test('a variable that is empty is not set', async () => {
  const all = { MILLRACE_T_MANY: '', MILLRACE_T_LONG: ' ', MILLRACE_T_NAME: '' };
  expect(await parse(all)).toEqual(PLAIN);
  expect(await parse({ MILLRACE_T_MANY: '3', MILLRACE_T_LONG: '2s', MILLRACE_T_NAME: 'y' })).toEqual({
    ...PLAIN,
    many: 3,
    long: 2_000,
    name: 'y',
  });
});

test('commands of commands read their own', async () => {
  const seen: unknown[] = [];
  const root = strict(new Command());
  const inner = strict(strict(root.command('a')).command('b'));
  inner.addOption(option('--loud', 'a switch', 'MILLRACE_T_LOUD')).action((flags) => void seen.push(flags));
  const call = async (): Promise<unknown> =>
    await withEnvironment(root, process.env).parseAsync(['a', 'b'], { from: 'user' });
  await withVariables({ MILLRACE_T_LOUD: 'false' }, call);
  await expect(withVariables({ MILLRACE_T_LOUD: 'perhaps' }, call)).rejects.toThrow('must be true or false');
  expect(seen).toEqual([{}]);
});

test('a value that is on or off takes the other words, too', () => {
  expect(['on', 'TRUE', '1', 'yes'].map(onOff)).toEqual(['on', 'on', 'on', 'on']);
  expect(['off', 'false', '0', 'No'].map(onOff)).toEqual(['off', 'off', 'off', 'off']);
  expect(() => onOff('')).toThrow('It must be on or off');
});

describe('the address', () => {
  const address = async (variables: NodeJS.ProcessEnv): Promise<ReturnType<typeof redisAddress>> => {
    const command = withOptions(QUEUE_OPTIONS)(strict(new Command()));
    return await withVariables(variables, () =>
      redisAddress(withEnvironment(command, process.env).parse([], { from: 'user' }).opts<QueueFlags>()),
    );
  };

  test('a certificate is verified unless that is turned off', async () => {
    for (const text of ['false', '0', 'off', 'no', ''])
      expect((await address({ MILLRACE_REDIS_TLS_INSECURE: text })).tls, text).toBeUndefined();
    expect((await address({ MILLRACE_REDIS_TLS_INSECURE: 'true' })).tls?.insecureSkipVerify).toBe(true);
    const { tls } = await address({ MILLRACE_REDIS_TLS: 'true', MILLRACE_REDIS_TLS_INSECURE: 'false' });
    expect(tls?.insecureSkipVerify).toBeFalsy();
  });

  test('TLS alone is enough, and is not undone by an empty certificate', async () => {
    expect((await address({ MILLRACE_REDIS_TLS: '1', MILLRACE_REDIS_TLS_CA: '' })).tls).toBeDefined();
    expect((await address({ MILLRACE_REDIS_TLS: 'false' })).tls).toBeUndefined();
  });

  test('secrets in files win over those in variables, without the line end', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-files-'));
    try {
      const file = async (name: string, text: string): Promise<string> => {
        await writeFile(join(dir, name), text);
        return join(dir, name);
      };
      expect(
        await address({
          MILLRACE_REDIS_SENTINEL: 'a:1, b:2',
          MILLRACE_REDIS_SENTINEL_USERNAME: 'watch',
          MILLRACE_REDIS_SENTINEL_PASSWORD_FILE: await file('sentinels', 'theirs\n'),
          MILLRACE_REDIS_PASSWORD: 'old',
          MILLRACE_REDIS_PASSWORD_FILE: await file('password', 'new\n'),
          MILLRACE_REDIS_TLS_CA_FILE: await file('ca', 'pem ca'),
          MILLRACE_REDIS_TLS_CERT_FILE: await file('cert', 'pem cert'),
          MILLRACE_REDIS_TLS_KEY_FILE: await file('key', 'pem key'),
        }),
      ).toEqual({
        sentinel: { name: 'mymaster', nodes: ['a:1', 'b:2'], username: 'watch', password: 'theirs' },
        credentials: expect.anything(),
        password: 'new',
        tls: { ca: 'pem ca', cert: 'pem cert', key: 'pem key' },
      });
      const url = await file('url', 'redis://somewhere:1/2\n');
      expect((await address({ MILLRACE_REDIS_URL_FILE: url })).url).toBe('redis://somewhere:1/2');
      const nowhere = join(dir, 'nothing');
      await expect(address({ MILLRACE_REDIS_PASSWORD_FILE: nowhere })).rejects.toThrow(
        `the file of MILLRACE_REDIS_PASSWORD_FILE cannot be read (ENOENT): ${nowhere}`,
      );
      const empty = await file('empty', '\n');
      await expect(address({ MILLRACE_REDIS_PASSWORD_FILE: empty })).rejects.toThrow('is empty');
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
