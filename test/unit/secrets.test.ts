/** No error text shows a password, however it was put into an address. */
import { hash } from 'node:crypto';
import { ReplyError } from 'ioredis';
import { expect, test } from 'vitest';
import { addressName, type RedisAddress } from '../../queue/connection/address.ts';
import { describeRedisError, redisOptions } from '../../queue/connection/connection.ts';

const HOST = 'cache.shop';
/** How people put one into a URL or a Secret, with nothing percent-encoded. */
const FORMS: Record<string, (password: string) => RedisAddress> = {
  'redis://user:…@host': (password) => ({ url: `redis://app:${password}@${HOST}:6379/0` }),
  'redis://…@host': (password) => ({ url: `redis://${password}@${HOST}` }),
  'rediss://…@host': (password) => ({ url: `rediss://${password}@${HOST}:6380` }),
  'redis://:…@host': (password) => ({ url: `redis://:${password}@${HOST}:6379/0` }),
  'user:…@host': (password) => ({ url: `app:${password}@${HOST}:6379` }),
  '…@host': (password) => ({ url: `${password}@${HOST}` }),
  'the password alone': (password) => ({ url: password }),
  'behind a colon': (password) => ({ url: `${password}://${HOST}` }),
  'twice, as user and password': (password) => ({ url: `redis://${password}:${password}@${HOST}/0` }),
  'as database': (password) => ({ url: `redis://${HOST}:6379/${password}` }),
  'apart from the URL': (password) => ({ url: `redis://${HOST}`, username: 'app', password }),
  'at a sentinel': (password) => ({ sentinel: { name: 'main', nodes: [`:${password}@${HOST}:26379`] } }),
  'at a sentinel, as in a URL': (password) => ({
    sentinel: { name: 'main', nodes: [`redis://app:${password}@${HOST}:26379`] },
  }),
};

const reply = (message: string): Error => new (ReplyError as new (message: string) => Error)(message);
const NOWHERE = Object.assign(new Error('getaddrinfo ENOTFOUND x'), { code: 'ENOTFOUND' });

/** All that a person may be told of an address. */
function texts(address: RedisAddress): string[] {
  const told = [addressName(address)];
  try {
    redisOptions(address);
    told.push(describeRedisError(NOWHERE, address));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    told.push(error.message, describeRedisError(error, address));
  }
  return told;
}

/** The first six characters in a row that a text shows of a password. */
function shown(password: string, text: string): string | undefined {
  for (let i = 0; i + 6 <= password.length; i++)
    if (text.includes(password.slice(i, i + 6))) return password.slice(i, i + 6);
  return undefined;
}

/** As `openssl rand -base64 24` prints them; the same ones in each run. */
const passwords = Array.from({ length: 50_000 }, (_, i) =>
  hash('sha256', `password ${i}`, 'base64').slice(0, 32),
);

/** The forms in which a character of base64 ends the host's part too early. */
const TORN = new Set(['redis://user:…@host', 'redis://…@host', 'rediss://…@host']);

test.each(Object.entries(FORMS))('random passwords of base64: %s', (form, addressOf) => {
  // what does not depend on the password is said again and again, and needs to be looked at once
  const said = new Set<string>();
  const leaks: string[] = [];
  for (const password of passwords.slice(0, TORN.has(form) ? undefined : 3_000))
    for (const text of texts(addressOf(password))) {
      if (said.has(text)) continue;
      said.add(text);
      const part = shown(password, text);
      if (part !== undefined && !HOST.includes(part)) leaks.push(`${password}: ${text}`);
    }
  expect(leaks.slice(0, 3)).toEqual([]);
  expect(said.size).toBeLessThan(20);
});

const odd = [
  'aB3d/Ef6hIjKl',
  '4711#s3cretpw',
  'what?ever12',
  'p@ss@word12',
  'p:ss:word12',
  '#/?@:secret',
  '12/34@5678secret',
];
test.each(odd)('a password with characters of a URL: %s', (password) => {
  for (const addressOf of Object.values(FORMS))
    for (const text of texts(addressOf(password))) expect(shown(password, text), text).toBeUndefined();
});

test('a percent-encoded one is taken', () => {
  const password = '#/?@:%secret';
  const url = `redis://app:${encodeURIComponent(password)}@${HOST}:6380/3`;
  expect(redisOptions({ url })).toMatchObject({ host: HOST, port: 6380, db: 3, username: 'app', password });
  expect(addressName({ url })).toBe(`${HOST}:6380/3`);
});

test.each(['?db=3', '/?password=my-secret', '/0#my-secret'])(
  'what we would not read of a URL is refused, and not quoted: %s',
  (rest) => {
    const refused = texts({ url: `redis://${HOST}:6379${rest}` });
    expect(refused[1]).toMatch(/^the Redis URL has something after \? or #, which is not read/);
    for (const text of refused) expect(text).not.toContain('my-secret');
  },
);

test("a server's message about the arguments of a command is left out", () => {
  const error = reply("ERR unknown command 'AUTH', with args beginning with: 'app' 'my secret' ");
  const told = describeRedisError(error, { url: `redis://${HOST}`, password: 'my secret' });
  expect(told).toBe(`Redis at ${HOST}:6379: ERR unknown command 'AUTH'`);
});

test('a long text of a stranger is cut', () => {
  const error = reply(`ERR ${'x'.repeat(5_000_000)}`);
  expect(describeRedisError(error, { url: `redis://${HOST}` }).length).toBeLessThan(400);
});
