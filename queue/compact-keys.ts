/**
 * The keys of a queue for those who keep thousands of them: some 150 bytes instead of 3 KB, as each name is made when it is read. Not
 * to be spread: most of it is in the prototype. Pure.
 */
import { queueKeys, type QueueKeys } from './keys.ts';

type Names = Readonly<Record<string, string | ((id: string) => string)>>;

/** All keys of one queue, of which each other one has the same but for the beginning. */
const EXAMPLE = { ...queueKeys('q', 'r') } as const;
const BASE_LENGTH = baseOf(EXAMPLE).length;
const OWN: readonly string[] = ['queue', 'result'] satisfies (keyof QueueKeys)[];

class CompactKeys {
  readonly base: string;
  readonly queue: string;
  readonly result: string;
  constructor(keys: QueueKeys) {
    // joined, as a slice would keep the whole name
    const base = baseOf(keys);
    this.base = [base.slice(0, 1), base.slice(1)].join('');
    this.queue = keys.queue;
    this.result = keys.result;
  }
}
for (const [name, key] of Object.entries(EXAMPLE as unknown as Names)) {
  if (OWN.includes(name)) continue;
  const rest = (typeof key === 'string' ? key : key('')).slice(BASE_LENGTH);
  Object.defineProperty(
    CompactKeys.prototype,
    name,
    typeof key === 'string'
      ? {
          get(this: CompactKeys) {
            return this.base + rest;
          },
        }
      : {
          value(this: CompactKeys, id: string) {
            return this.base + rest + id;
          },
        },
  );
}

/** The same keys. A name that is not of the usual form, such as that of the errors of a priority, is stored. */
export function compactKeys(keys: QueueKeys): QueueKeys {
  const compact = new CompactKeys(keys) as unknown as QueueKeys;
  const [given, made] = [keys, compact] as unknown as [Names, Names];
  for (const name of Object.keys(EXAMPLE)) {
    const value = given[name];
    if (typeof value === 'string' && value !== made[name]) Object.defineProperty(compact, name, { value });
  }
  return compact;
}

function baseOf({ workers }: QueueKeys): string {
  return workers.slice(0, -':workers'.length);
}
