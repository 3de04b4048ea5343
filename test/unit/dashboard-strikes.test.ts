import type { IncomingMessage } from 'node:http';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { isDenied, openGate } from '../../controller/dashboard/gate.ts';
import { createStrikes, type RefusalKind, type Strikes } from '../../controller/dashboard/strikes.ts';

const TOKEN = '0123456789abcdef';

/** As much of a request as is looked at. */
const from = (remoteAddress: string, token?: string): IncomingMessage =>
  ({
    url: '/dashboard/api/pools?since=1',
    headers: token === undefined ? {} : { 'x-millrace-token': token },
    socket: { remoteAddress },
  }) as unknown as IncomingMessage;

function strikesAt(clock: { now: number }): { strikes: Strikes; counted: RefusalKind[]; lines: string[] } {
  const counted: RefusalKind[] = [];
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
  const strikes = createStrikes({ log, counted: (kind) => counted.push(kind), now: () => clock.now });
  return { strikes, counted, lines };
}

test('ten wrong tokens from an address, and no more for a minute; others are not meant', () => {
  const clock = { now: 0 };
  const { strikes, counted } = strikesAt(clock);
  for (let i = 0; i < 10; i++) {
    expect(strikes.blocked(from('10.0.0.1'))).toBe(false);
    strikes.add(from('10.0.0.1'), 'token');
  }
  expect(strikes.blocked(from('10.0.0.1'))).toBe(true);
  expect(strikes.blocked(from('10.0.0.2'))).toBe(false);
  expect(counted).toEqual([...Array<RefusalKind>(10).fill('token'), 'limit']);
  clock.now = 60_000;
  expect(strikes.blocked(from('10.0.0.1'))).toBe(false);
});

test('a missing right is noted, and counts as no strike', () => {
  const { strikes, counted } = strikesAt({ now: 0 });
  for (let i = 0; i < 20; i++) strikes.note(from('10.0.0.1'), 'rights');
  expect(counted).toHaveLength(20);
  expect(strikes.blocked(from('10.0.0.1'))).toBe(false);
});

test('one token for all: the right one always lets act, wrong ones are logged without it and then not compared', async () => {
  const { strikes, lines } = strikesAt({ now: 0 });
  const gate = openGate(() => Promise.resolve(TOKEN), strikes);
  const act = async (token?: string): Promise<number | undefined> => {
    const visitor = await gate.admit(from('10.0.0.1', token));
    if (isDenied(visitor)) throw new Error('everybody sees');
    expect(await visitor.sees(['a'])).toBe('all');
    return (await visitor.refusesAction('a'))?.status;
  };
  expect(await act(TOKEN)).toBeUndefined();
  const wrong: (number | undefined)[] = [];
  for (let i = 0; i < 11; i++) wrong.push(await act(`wrong token ${i}`));
  expect(wrong).toEqual([...Array<number>(10).fill(401), 429]);
  expect(await act(TOKEN)).toBeUndefined();
  expect(lines).toHaveLength(10);
  expect(lines.join('')).not.toContain('wrong token');
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ address: '10.0.0.1', path: '/dashboard/api/pools' });
});
