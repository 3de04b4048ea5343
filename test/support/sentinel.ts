/** Real sentinels that watch a real primary: the server program in its other mode, a child process each. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dropRedis, openRedis } from '../../queue/connection.ts';
import { kill, run, startGuard } from './children.ts';
import { eventually } from './eventually.ts';
import { findServer, freePort, type RedisServer } from './redis.ts';

export interface Sentinels extends AsyncDisposable {
  /** `host:port` of each. */
  readonly nodes: readonly string[];
}

/** Starts three that call the primary `name`, and resolves when each knows the replica and the other two. */
export async function startSentinels(
  { host, port }: Pick<RedisServer, 'host' | 'port'>,
  name: string,
): Promise<Sentinels> {
  await using stack = new AsyncDisposableStack();
  const nodes: string[] = [];
  for (let i = 0; i < 3; i++) {
    const own = await freePort();
    const dir = await mkdtemp(join(tmpdir(), 'millrace-sentinel-'));
    stack.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));
    const settings = [
      `port ${own}`,
      `bind ${host}`,
      `dir ${dir}`,
      `sentinel monitor ${name} ${host} ${port} 2`,
      `sentinel down-after-milliseconds ${name} 1000`,
      `sentinel failover-timeout ${name} 5000`,
    ];
    await writeFile(join(dir, 'sentinel.conf'), `${settings.join('\n')}\n`);
    const child = run(findServer(), dir, [join(dir, 'sentinel.conf'), '--sentinel']);
    const guard = startGuard([child], dir);
    stack.defer(async () => {
      await kill(child);
      await kill(guard);
    });
    nodes.push(`${host}:${own}`);
  }
  for (const node of nodes) await eventually(() => knowsAll(node, name), { withinMs: 20_000, everyMs: 100 });
  const started = stack.move();
  return { nodes, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

async function knowsAll(node: string, name: string): Promise<void> {
  const sentinel = openRedis({ url: `redis://${node}` }, { retryStrategy: () => 50 });
  try {
    const reply = (await sentinel.call('SENTINEL', 'MASTER', name)) as string[];
    const field = (key: string): string | undefined => reply[reply.indexOf(key) + 1];
    if (field('num-slaves') !== '1' || field('num-other-sentinels') !== '2')
      throw new Error(`the sentinel at ${node} does not know all yet: ${reply.join(' ')}`);
  } finally {
    dropRedis(sentinel);
  }
}
