/** From a pool's spec and its Secrets to an address, and the message if there is none. */
import { expect, test } from 'vitest';
import { MissingSecret, resolveAddress } from '../../controller/connect/address.ts';
import { troubleOf } from '../../controller/report/terminal-error.ts';
import { answerError } from '../../kube/errors.ts';
import { DEPLOYMENTS, objectPath, SECRETS } from '../../kube/resources.ts';
import type { RedisSpec } from '../../kube/workerpool.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';

const from = (name: string, key = 'value'): { secretKeyRef: { name: string; key: string } } => ({
  secretKeyRef: { name, key },
});

/** As if the namespace held these Secrets; `answer` is what the API server says instead. */
function resolve(
  spec: RedisSpec,
  held: Record<string, Record<string, string>>,
  answer = 404,
): Promise<RedisAddress> {
  const get = async ({ name }: { name: string }): Promise<never> => {
    const texts = held[name];
    if (!texts) throw answerError(`get secrets shop/${name}`, answer, '');
    const data = Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString('base64')]);
    return { metadata: { namespace: 'shop', name }, data: Object.fromEntries(data) } as never;
  };
  return resolveAddress(spec, 'shop', { get }, new AbortController().signal);
}

test('every part of it may come from a Secret', async () => {
  const sentinel = { name: 'm', nodes: ['a:26379'], username: 'watch', passwordFrom: from('sentinels') };
  const spec = { sentinel, username: 'app', passwordFrom: from('redis'), tls: { caFrom: from('ca') } };
  const held = { sentinels: { value: 'theirs' }, redis: { value: 'secret\n' }, ca: { value: 'pem' } };
  expect(await resolve(spec, held)).toEqual({
    sentinel: { name: 'm', nodes: ['a:26379'], username: 'watch', password: 'theirs' },
    username: 'app',
    password: 'secret',
    tls: { ca: 'pem' },
  });
});

test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])(
  'a key that is called as something that every object has: %s',
  async (key) => {
    const missing = resolve({ passwordFrom: from('redis', key) }, { redis: { password: 'x' } });
    await expect(missing).rejects.toThrow(`Secret "redis" in namespace "shop" has no key "${key}": add it`);
    await expect(missing).rejects.toBeInstanceOf(MissingSecret);
  },
);

test.each([
  [404, /does not exist in namespace "shop": create it with a key "value"/],
  [403, /Secret "redis" in namespace "shop" cannot be read: get secrets shop\/redis: 403 Forbidden/],
  [400, /cannot be read: .*400 BadRequest/],
])('an answer of %d is a condition of the pool', async (status, words) => {
  const error = await resolve({ passwordFrom: from('redis') }, {}, status).catch(
    (failure: unknown) => failure,
  );
  expect(troubleOf(error)).toEqual({
    reason: 'SecretMissing',
    message: expect.stringMatching(words) as string,
  });
});

test.each([401, 429, 500, 503])('an answer of %d is tried again', async (status) => {
  const error = await resolve({ passwordFrom: from('redis') }, {}, status).catch(
    (failure: unknown) => failure,
  );
  expect(troubleOf(error)).toBeUndefined();
});

test('what the API server refuses of a target is a condition, too', () => {
  expect(troubleOf(answerError('patch deployments/scale shop/a', 403, ''))).toMatchObject({
    reason: 'Refused',
  });
  expect(troubleOf(answerError('patch deployments/scale shop/a', 409, ''))).toBeUndefined();
});

test.each(['..', '.', '', 'a/b', 'a%2Fb', String.raw`a\b`])(
  'a name that leads elsewhere is none: %j',
  (name) => {
    expect(() => objectPath(SECRETS, { namespace: 'shop', name })).toThrow(RangeError);
    expect(() => objectPath(DEPLOYMENTS, { namespace: name, name: 'a' })).toThrow(RangeError);
  },
);
