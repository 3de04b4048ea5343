/** Waits for replies that are bounded in time. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RedisTimeout, within } from '../../queue/connection/within.ts';

test('a reply that the process was too busy to read is no timeout', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const client = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
  const [[other]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
    [Socket],
    [],
  ];
  await setImmediate();
  const reply = within(20, once(client, 'data'), 'the reply');
  other.write('it is there');
  const busyUntil = performance.now() + 100;
  while (performance.now() < busyUntil);
  expect(String((await reply)[0])).toBe('it is there');
  client.destroy();
  server.close();
});

test('none is a timeout', async () => {
  const never = new Promise<never>(() => {});
  await expect(within(1, never, 'the reply')).rejects.toThrow(RedisTimeout);
});
