/** When a worker gives up on a Redis that refuses it, and how often it logs that. */
import { ReplyError } from 'ioredis';
import { expect, test } from 'vitest';
import { DatabaseRefused } from '../../queue/connection/redis-errors.ts';
import { createRefusals, type Refusals } from '../../worker/epoch/registration/connection-errors.ts';

const reply = (message: string): Error => new (ReplyError as new (message: string) => Error)(message);
const coded = (code: string, message = code): Error => Object.assign(new Error(message), { code });

function refusalsOf(afterMs: number): { refusals: Refusals; lines: string[]; clock: { now: number } } {
  const lines: string[] = [];
  const clock = { now: 0 };
  const address = { url: 'rediss://cache' };
  const refusals = createRefusals({
    address,
    afterMs,
    log: (line) => lines.push(line),
    now: () => clock.now,
  });
  return { refusals, lines, clock };
}

test.each([
  ['a wrong password', reply('WRONGPASS invalid username-password pair or user is disabled.')],
  ['no password', reply('NOAUTH HELLO must be called with the client already authenticated')],
  ['a certificate that is over', coded('ERR_SSL_TLSV13_ALERT_CERTIFICATE_EXPIRED')],
  [
    'an authority that is not trusted',
    coded('SELF_SIGNED_CERT_IN_CHAIN', 'self-signed certificate in chain'),
  ],
  ["the server's certificate is over", coded('CERT_HAS_EXPIRED')],
  ['a database that is not there', new DatabaseRefused('has no database 16')],
  ['a cluster', reply("CROSSSLOT Keys in request don't hash to the same slot")],
  ['a slot of another node', reply('MOVED 9914 127.0.0.1:21231')],
])('%s is for good', async (_what, error) => {
  using both = refusalsOf(1).refusals;
  both.attempts().failed(error);
  expect(await both.forGood).toMatch(/^Redis at cache:6379 /);
});

test.each([
  ['a server that is away', [coded('ECONNREFUSED')]],
  ['a name that does not resolve', [coded('ENOTFOUND')]],
  ['a server without memory', [reply('OOM command not allowed when used memory > maxmemory')]],
  ['refused, then away', [reply('WRONGPASS x'), coded('ECONNREFUSED')]],
])('%s is waited for', async (_what, errors) => {
  const waiting = refusalsOf(1).refusals;
  const attempts = waiting.attempts();
  for (const error of errors) attempts.failed(error);
  using other = refusalsOf(5).refusals;
  other.attempts().failed(reply('WRONGPASS x'));
  expect(await Promise.race([waiting.forGood, other.forGood.then(() => 'not yet')])).toBe('not yet');
});

test('a connection that works is well, and another one of the same worker may still be refused', async () => {
  using refusals = refusalsOf(5).refusals;
  const [well, refused] = [refusals.attempts(), refusals.attempts()];
  well.failed(reply('WRONGPASS x'));
  refused.failed(coded('CERT_HAS_EXPIRED'));
  well.succeeded();
  expect(await refusals.forGood).toMatch(/TLS/);
});

test('a hang-up between refusals does not hide them', async () => {
  using refusals = refusalsOf(1).refusals;
  const attempts = refusals.attempts();
  attempts.failed(coded('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'));
  attempts.failed(coded('ECONNRESET'));
  expect(await refusals.forGood).toMatch(/TLS/);
});

test('one line for each cause, again after longer and longer pauses, and afresh once it was well', () => {
  const { refusals, lines, clock } = refusalsOf(60_000);
  const attempts = refusals.attempts();
  const failures = (seconds: number): void => {
    for (const end = clock.now + seconds * 1_000; clock.now < end; clock.now += 500) {
      attempts.failed(coded('ECONNREFUSED'));
      attempts.failed(coded('ENOTFOUND'));
    }
  };
  failures(59);
  expect(lines).toHaveLength(2);
  failures(121);
  expect(lines).toHaveLength(4);
  failures(3_600);
  expect(lines.length).toBeLessThan(20);
  attempts.succeeded();
  failures(1);
  expect(lines.slice(-2).map((line) => line.split(':')[1])).toHaveLength(2);
  refusals[Symbol.dispose]();
});
