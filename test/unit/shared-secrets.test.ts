import { expect, test } from 'vitest';
import { shareSecrets } from '../../controller/connect/shared-secrets.ts';

function start(answer: () => Promise<{ metadata: { name: string } }>) {
  let now = 0;
  const asked: string[] = [];
  const clock = { now: () => now, elapsed: () => now, sleep: () => Promise.resolve() };
  const get = ({ name }: { name: string }) => {
    asked.push(name);
    return answer();
  };
  return { asked, pass: (ms: number) => void (now += ms), shared: shareSecrets({ get }, clock) };
}
const ref = (name: string) => ({ namespace: 'team', name });

test('who asks for the same Secret shares the answer while it is fresh enough for them', async () => {
  const { asked, pass, shared } = start(() => Promise.resolve({ metadata: { name: 'redis' } }));
  await Promise.all([shared(60_000).get(ref('redis')), shared(60_000).get(ref('redis'))]);
  await shared(60_000).get(ref('other'));
  expect(asked).toEqual(['redis', 'other']);
  pass(6_000);
  await shared(60_000).get(ref('redis'));
  expect(asked).toHaveLength(2);
  // a pool in trouble wants it fresher, and all others have that one then
  await shared(5_000).get(ref('redis'));
  pass(4_000);
  await shared(5_000).get(ref('redis'));
  expect(asked).toEqual(['redis', 'other', 'redis']);
});

test('a failure is not shared with who comes later', async () => {
  const { asked, shared } = start(() => Promise.reject(new Error('away')));
  await expect(shared(60_000).get(ref('redis'))).rejects.toThrow('away');
  await expect(shared(60_000).get(ref('redis'))).rejects.toThrow('away');
  expect(asked).toHaveLength(2);
});
