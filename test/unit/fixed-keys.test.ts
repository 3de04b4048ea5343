/** A call of a script whose keys stay the same is the request that ioredis would make of it, byte for byte. */
import { Command, Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { scriptOfKeys } from '../../queue/scripts/fixed-keys.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';

/** What is sent, and what ioredis would send. */
function requests(keys: readonly string[], args: readonly (string | Buffer)[]): readonly [Buffer, Buffer] {
  const redis = defineScripts(new Redis({ lazyConnect: true }));
  let sent: Command | undefined;
  redis.sendCommand = (command) => {
    sent = command;
    return command.promise;
  };
  void scriptOfKeys('turn', keys)(redis, args);
  if (!sent) throw new Error('nothing was sent');
  const usual = new Command('evalsha', sent.args as (string | Buffer)[]);
  return [Buffer.from(sent.toWritable({})), Buffer.from(usual.toWritable({}))];
}

test.for<[string, readonly (string | Buffer)[]]>([
  ['one of bytes', [Buffer.from([0, 13, 10, 255])]],
  ['none', []],
  ['empty ones', ['', Buffer.alloc(0)]],
  ['text that is longer in bytes', ['żółw 🐢', Buffer.from('ż')]],
  ['many', Array.from({ length: 1_200 }, (_, i) => (i % 2 === 0 ? `${i}` : Buffer.from(`${i}`)))],
])('arguments: %s', ([, args]) => {
  const keys = ['queue', 'żółw:{queue}:stats', ''];
  const [sent, usual] = requests(keys, args);
  expect(sent).toEqual(usual);
  expect(sent.toString()).toContain('$1\r\n3\r\n$5\r\nqueue\r\n');
});

test('calls of one script with different numbers of arguments', () => {
  const redis = defineScripts(new Redis({ lazyConnect: true }));
  const sent: string[] = [];
  redis.sendCommand = (command) => {
    sent.push(command.toWritable({}).toString().split('\r\n', 1).join());
    return command.promise;
  };
  const run = scriptOfKeys('turn', ['key']);
  for (const args of [['a'], ['a', 'b'], ['a']]) void run(redis, args);
  expect(sent).toEqual(['*5', '*6', '*5']);
});
