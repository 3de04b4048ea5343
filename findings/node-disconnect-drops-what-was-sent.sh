#!/usr/bin/env bash
# Node: disconnect() throws away messages to a child whose callbacks say that they were sent
#
# Guess    subprocess.send is to disconnect as write is to end: messages that were sent before it are delivered, and then the channel
#          closes. What could not be sent is told to its callback, as an error.
# Truth    The channel closes in the same turn, with what the pipe had no room for: of three messages of 300 kB a child that only
#          listens gets none, and each callback is called without an error. process.disconnect does the same in a child. Awaiting
#          the callback of the last message before disconnect() is enough.
# Versions Node.js 24.21.0 (npm package node)
# Date     2026-11-29
# Source   observed; Node's documentation: disconnect is "allowing child processes to exit gracefully once there are no other
#          connections keeping it alive", and the callback "is invoked after the message is sent"
# Output   at once: callbacks ok, ok, ok; the child got 0 / after the last callback: callbacks ok, ok, ok; the child got 3
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0
cat >child.mjs <<'JS'
let got = 0;
process.on('message', () => got++);
process.on('disconnect', () => console.log(got));
JS
cat >see.mjs <<'JS'
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

async function see(name, waits) {
  const child = fork('child.mjs', { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  const got = text(child.stdout);
  await once(child, 'spawn');
  const message = 'a'.repeat(300_000);
  const sent = [1, 2, 3].map(() => new Promise((resolve) => child.send(message, (error) => resolve(error?.code ?? 'ok'))));
  if (waits) await Promise.all(sent);
  child.disconnect();
  console.log(`${name}: callbacks ${(await Promise.all(sent)).join(', ')}; the child got ${(await got).trim()}`);
}
await see('at once', false);
await see('after the last callback', true);
JS
node_modules/.bin/node see.mjs | tee seen
diff - seen <<'SEEN'
at once: callbacks ok, ok, ok; the child got 0
after the last callback: callbacks ok, ok, ok; the child got 3
SEEN
