import calculateSlot from 'cluster-key-slot';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { queueKeys, type QueueKeys } from '../../queue/keys.ts';

/** Every key but the result, which may be in another slot. */
function all(keys: QueueKeys): string[] {
  const { queue, workers, load, delayed, dead, errors, stats, history, cancelled, expiry } = keys;
  const own = ['w1', 'w}{2'].flatMap((id) => [
    keys.worker(id),
    keys.inflight(id),
    keys.carried(id),
    keys.wake(id),
    keys.progress(id),
    keys.memory(`shop/${id}`),
    keys.timeline(`shop/${id}`),
    keys.decisions(`shop/${id}`),
  ]);
  return [queue, workers, load, delayed, dead, errors, stats, history, cancelled, expiry, ...own];
}

describe('queueKeys', () => {
  test.each([
    ['task_queue', 'millrace:{task_queue}:workers'],
    ['{orders}:tasks', 'millrace:{orders}[{orders}:tasks]:workers'],
    ['a{}b', 'millrace:'],
    ['a{b', 'millrace:{a{b}:workers'],
    ['a}b', 'millrace:{'],
    ['}{', 'millrace:{'],
    ['{', 'millrace:{'],
  ])('%s', (queue, start) => {
    const keys = queueKeys(queue, 'result');
    expect(keys.workers.startsWith(start)).toBe(true);
    expect(new Set(all(keys).map((key) => calculateSlot(key)))).toEqual(new Set([calculateSlot(queue)]));
  });

  test('all keys of a queue are in its slot, and no two queues share one, for any names', () => {
    const name = fc.string({
      minLength: 1,
      maxLength: 8,
      unit: fc.constantFrom('{', '}', '[', ']', ':', 'a', 'é', ' '),
    });
    fc.assert(
      fc.property(name, name, (one, two) => {
        const slots = new Set(all(queueKeys(one, `${one}!`)).map((key) => calculateSlot(key)));
        expect(slots).toEqual(new Set([calculateSlot(one)]));
        if (one === two) return;
        const others = new Set(all(queueKeys(two, `${two}!`)));
        expect(all(queueKeys(one, `${one}!`)).filter((key) => others.has(key))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('one queue has no key twice', () => {
    const keys = all(queueKeys('q', 'r'));
    expect(new Set(keys).size).toBe(keys.length);
  });

  test.each([
    ['', 'r', 'must have names'],
    ['q', '', 'must have names'],
    ['q', 'q', 'queue and result are both "q"'],
  ])('"%s" and "%s" are refused', (queue, result, message) => {
    expect(() => queueKeys(queue, result)).toThrow(RangeError);
    expect(() => queueKeys(queue, result)).toThrow(message);
  });
});
