#!/usr/bin/env bash
# Node: a child that cannot be spawned for want of file descriptors keeps three of them for good.
#
# Guess:  `spawn` that emits an error with the code EMFILE has started nothing and holds nothing; when descriptors are free
#         again, all of them are.
# Truth:  when the pairs for stdin, stdout and stderr could be made and the next descriptor could not, the parent's three ends
#         stay open for as long as the process lives: no stream leads to them, and no garbage collection closes them. A program
#         that spawns again and again at its limit loses three each time, until it can spawn nothing any more, however many of
#         its children have ended.
# Source: lib/internal/child_process.js returns early for EMFILE and ENFILE ("no point in continuing when we've hit the end of
#         the process limit"), before it makes the streams that would own the handles.
# Seen:   Node 24.21.0 on Linux, 2026-11-28:
#           free 5: EMFILE, kept 0
#           free 6: EMFILE, kept 3
#           free 7: EMFILE, kept 3
#           free 9: spawned, kept 0
# What to do: open and close some ten descriptors just before, and do not spawn when that fails.
#
# Exits with 0 as long as this is so. Needs npm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm install --silent --no-audit --no-fund node@24.21.0
cat > spawn.mjs <<'JS'
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const open = () => readdirSync('/proc/self/fd').length;

/** Spawns when only so many descriptors are free; how many more are open when all has ended. */
async function kept(free) {
  const before = open();
  const taken = [];
  try {
    for (;;) taken.push(openSync('/dev/null'));
  } catch {
    // the limit
  }
  for (let i = 0; i < free; i++) closeSync(taken.pop());
  const child = spawn('true', [], { stdio: 'pipe' });
  const [error] = await once(child, child.pid === undefined ? 'error' : 'close');
  for (const descriptor of taken) closeSync(descriptor);
  await delay(200);
  globalThis.gc();
  await delay(200);
  const more = open() - before;
  console.log(`free ${free}: ${error?.code ?? 'spawned'}, kept ${more}`);
  return more;
}

await once(spawn('true', [], { stdio: 'pipe' }), 'close');
const none = [await kept(5), await kept(9)];
const three = [await kept(6), await kept(7)];
process.exit(none.every((n) => n === 0) && three.every((n) => n === 3) ? 0 : 1);
JS
(
  ulimit -n 64
  ./node_modules/.bin/node --expose-gc spawn.mjs
)
