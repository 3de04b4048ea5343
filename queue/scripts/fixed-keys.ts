/**
 * Calls of a script whose keys stay the same: what a request says of the script and its keys is put into bytes once. ioredis does so
 * with each call, for each argument, which takes a worker longer than all else that it does for a turn of one task.
 */
import { Command, type Redis } from 'ioredis';
import { hashOf, script, type ScriptName } from './scripts.ts';

type Arg = string | Buffer;

const CRLF = Buffer.from('\r\n');

/** The script as a function of its arguments; bytes in its reply stay bytes. A server that does not know the script is sent it. */
export type ScriptOfKeys = (redis: Redis, args: readonly Arg[]) => Promise<unknown>;

export function scriptOfKeys(name: ScriptName, keys: readonly string[]): ScriptOfKeys {
  let fixed: FixedPart | undefined;
  return (redis, args) => {
    fixed ??= fixedPart(hashOf(redis, name), keys);
    const command = new FixedKeysCommand(fixed, args);
    redis.sendCommand(command);
    return command.promise.catch((error: unknown) => {
      if (!(error instanceof Error) || !error.message.includes('NOSCRIPT')) throw error;
      return script(redis, name)(...keys, ...args);
    });
  };
}

interface FixedPart {
  readonly args: readonly string[];
  /** What a request with so many further arguments begins with. */
  headFor(count: number): Buffer;
}

function fixedPart(hash: string, keys: readonly string[]): FixedPart {
  const args = [hash, String(keys.length), ...keys];
  const bulks = ['evalsha', ...args].map(bulk).join('');
  const heads: Buffer[] = [];
  return {
    args,
    headFor: (count) => (heads[count] ??= Buffer.from(`*${1 + args.length + count}\r\n${bulks}`)),
  };
}

class FixedKeysCommand extends Command {
  readonly #fixed: FixedPart;

  constructor(fixed: FixedPart, args: readonly Arg[]) {
    super('evalsha', [...fixed.args, ...args], { replyEncoding: null });
    this.#fixed = fixed;
  }

  override toWritable(): Buffer {
    const args = this.args.slice(this.#fixed.args.length) as Arg[];
    return joined(this.#fixed.headFor(args.length), args);
  }
}

function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

function joined(head: Buffer, args: readonly Arg[]): Buffer {
  const parts = [head];
  for (const arg of args) {
    const bytes = typeof arg === 'string' ? Buffer.from(arg) : arg;
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, CRLF);
  }
  return Buffer.concat(parts);
}
