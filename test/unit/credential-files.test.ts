/** Credentials that are read again: what cannot be used is ignored until it can. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RedisCredentials } from '../../queue/connection/address.ts';
import { credentialsFrom } from '../../queue/connection/credential-files.ts';
import { redisAddress, type QueueFlags } from '../../queue/flags.ts';
import { makeCertificates, type Certificates } from '../support/certificates.ts';
import { mountSecret } from '../support/mounted-secret.ts';

const dirs: string[] = [];
const pairs: Certificates[] = [];
beforeAll(async () => {
  for (let i = 0; i < 2; i++) {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-pair-'));
    dirs.push(dir);
    pairs.push(await makeCertificates(dir));
  }
});
afterAll(() => Promise.all(dirs.map((dir) => rm(dir, { recursive: true }))));

const FLAGS = { redis: 'redis://redis:6379', sentinelName: 'm', queue: 'q', result: 'r' } as const;

/** A source whose text the test changes; `looked` resolves at the next change that it reports. */
function source(first: RedisCredentials | Error) {
  let now = first;
  const found = credentialsFrom(() => {
    if (now instanceof Error) throw now;
    return now;
  }, 1);
  const looked = (): Promise<void> =>
    new Promise((resolve) => {
      const stop = found.onChange(() => {
        stop();
        resolve();
      });
    });
  return { found, looked, set: (next: typeof first) => void (now = next) };
}

test('what is the same is the same object, and what cannot be read leaves it as it was', () => {
  const { found, set } = source({ password: 'a' });
  const first = found.current();
  set({ password: 'a' });
  expect(found.current()).toBe(first);
  set(new Error('no such file'));
  expect(found.current()).toBe(first);
  set({ password: 'b' });
  expect(found.current()).toEqual({ password: 'b' });
});

test('a certificate without its key, or what is none, is ignored', () => {
  const [one, two] = pairs as [Certificates, Certificates];
  const { found, set } = source({ tls: one });
  const first = found.current();
  for (const tls of [
    { ...one, key: two.key },
    { ...one, ca: 'half of' },
    { ...one, cert: one.cert.slice(0, 99) },
  ]) {
    set({ tls });
    expect(found.current()).toBe(first);
  }
  set({ tls: two });
  expect(found.current()).toEqual({ tls: two });
});

test('a change that a connection has met first is reported all the same', async () => {
  const { found, looked, set } = source({ password: 'a' });
  const told = looked();
  set({ password: 'b' });
  expect(found.current()).toEqual({ password: 'b' });
  await told;
  // and after the last listener has gone, another one is served
  const again = looked();
  set({ password: 'c' });
  await again;
  expect(found.current()).toEqual({ password: 'c' });
});

test('flags with files: each replacement of the files is another set of credentials', async () => {
  await using secret = await mountSecret({ password: 'old\n', sentinel: 'own' });
  const flags: QueueFlags = {
    ...FLAGS,
    redisPasswordFile: secret.path('password'),
    sentinel: 'a,b',
    sentinelPasswordFile: secret.path('sentinel'),
  };
  const { password, credentials } = redisAddress(flags);
  expect(password).toBe('old');
  await secret.replace({ password: 'new\n', sentinel: 'other' });
  expect(credentials?.current()).toMatchObject({ password: 'new', sentinelPassword: 'other' });
  expect(redisAddress({ ...FLAGS, redisPassword: 'x' }).credentials).toBeUndefined();
});

test('a URL in a file: user and password are replaced, another server is not', async () => {
  await using secret = await mountSecret({ url: 'redis://app:old@redis:6379/3' });
  const { credentials } = redisAddress({ ...FLAGS, redisUrlFile: secret.path('url') });
  await secret.replace({ url: 'redis://app2:new@redis:6379/3' });
  const renewed = { username: 'app2', password: 'new' };
  expect(credentials?.current()).toMatchObject(renewed);
  for (const url of [
    'redis://app3:newer@other:6379/3',
    'redis://app3:newer@redis:6379',
    'app3:newer@redis',
  ]) {
    await secret.replace({ url });
    expect(credentials?.current()).toMatchObject(renewed);
  }
});
