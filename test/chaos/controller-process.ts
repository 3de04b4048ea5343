/**
 * The controller of a chaos run, in a process of its own so that it can be killed: the loop that `millrace dev` and the
 * tests of the controller run, over a Target that asks its parent, as the real one asks the API server.
 */
import { pino } from 'pino';
import { startPoolLoop } from '../../cli/pool-loop.ts';
import type { Replicas, Target } from '../../controller/target.ts';
import { queueKeys } from '../../queue/keys.ts';
import type { Ask, FromController, ToController } from './controller.ts';

const [url = '', queue = '', result = '', maxReplicas = ''] = process.argv.slice(2);
const asked = new Map<number, (answer: unknown) => void>();
let calls = 0;

const tell = (message: FromController): void => void process.send?.(message);

function call(ask: Ask): Promise<unknown> {
  return new Promise((resolve) => {
    const number = ++calls;
    asked.set(number, resolve);
    tell({ kind: 'ask', number, ask });
  });
}

const target: Target = {
  observe: () => call({ kind: 'observe' }) as Promise<Replicas>,
  scale: async (replicas, holding) => void (await call({ kind: 'scale', replicas, holding: [...holding] })),
};

const loop = startPoolLoop({
  redis: { url },
  keys: queueKeys(queue, result),
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
  if (message.kind === 'answer') asked.get(message.number)?.(message.answer);
  // its lease covers what cannot be put back now
  else void loop.recover(message.worker).catch(() => undefined);
});
process.once('disconnect', () => process.exit());
