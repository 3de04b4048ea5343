/**
 * The controller of a chaos run, in a process of its own so that it can be killed: the loop that `millrace dev` and the
 * tests of the controller run, over a Target that asks its parent, as the real one asks the API server.
 */
import { pino } from 'pino';
import { startPoolLoop } from '../../cli/dev/pool-loop.ts';
import type { Target } from '../../controller/act/target.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { queueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';
import type { Asked, FromController, Seen, ToController } from './controller.ts';

const [address = '{}', maxReplicas = '', queues = '[]'] = process.argv.slice(2);
const redis = JSON.parse(address) as RedisAddress;
const asked = new Map<number, (seen: Seen) => void>();
let calls = 0;

const tell = (message: FromController): void => void process.send?.(message);

function call(message: Asked): Promise<Seen> {
  return new Promise((resolve) => {
    const number = ++calls;
    asked.set(number, resolve);
    tell({ ...message, number });
  });
}

const target: Target = {
  observe: async () => (await call({ kind: 'look' })).replicas,
  members: async () => {
    const { replicas, members: all } = await call({ kind: 'look' });
    const { wanted, rollingOut } = replicas;
    return { wanted, existing: all.length, rollingOut, all, ending: [], settled: true, fresh: true };
  },
  raise: async (replicas) => {
    await call({ kind: 'raise', replicas });
    return true;
  },
  remove: async (ids, replicas) => {
    await call({ kind: 'remove', ids, replicas });
    return true;
  },
  keep: () => Promise.resolve(),
};

const loop = startPoolLoop({
  redis,
  queues: (JSON.parse(queues) as [string, string][]).map(
    (names) => locationOf(redis, queueKeys(...names)).keys,
  ),
  policy: {
    minReplicas: 1,
    maxReplicas: Number(maxReplicas),
    tasksPerReplica: 40,
    windowMs: 1_500,
    fallback: undefined,
    paused: false,
  },
  target,
  pollMs: 250,
  log: pino({ level: 'warn' }, process.stderr),
  onStep: ({ scaled, decision }) => {
    if (scaled) tell({ kind: 'scaled', ...scaled, reason: decision.reason });
  },
  onError: (error) => void process.stderr.write(`a step failed: ${error.message}\n`),
});

process.on('message', (message: ToController) => {
  if (message.kind === 'answer') asked.get(message.number)?.(message.seen);
  // its lease covers what cannot be put back now
  else void loop.recover(message.worker, 'killed').catch(() => undefined);
});
process.once('disconnect', () => process.exit());
