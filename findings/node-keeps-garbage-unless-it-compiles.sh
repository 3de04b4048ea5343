#!/usr/bin/env bash
# An idle Node keeps the memory of a burst, unless it compiles a vm.Script now and then
#
# Guess    V8's memory reducer collects for the sake of memory when a process has been idle for some seconds: of a burst of 270 MB that
#          nothing holds any more, little is left after half a minute, and what the timer of an idle program does makes no difference.
# Truth    All of it is still there. Compiling `new vm.Script('0')` in that timer returns it to the system: the reducer also asks how fast
#          objects in C++ are allocated, and takes a rate of zero for the highest (`--trace-memory-reducer` says `high alloc` then). Few
#          parts of Node allocate any, and the vm module is one of them. A process that only idles is collected after 100 s.
# Versions Node.js 24.21.0 (npm package node), V8 13.6
# Date     2026-11-30
# Source   observed; Node's documentation says nothing of when memory is given back
# Output   timer: kept / timer that compiles: given back
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0
cat >see.cjs <<'JS'
const { Script } = require('node:vm');
const compiles = process.argv[2] === 'compiles';
let held = [];
for (let i = 0; i < 1_500_000; i++) held.push({ i, text: `${i}`, list: [i] });
const mb = () => process.memoryUsage().heapTotal / 2 ** 20;
const full = mb();
held = undefined;
let seconds = 0;
setInterval(() => {
  if (compiles) void new Script('0');
  const left = mb();
  if (++seconds < 60 && left > full / 4) return;
  const what = left > full / 2 ? 'kept' : left < full / 4 ? 'given back' : `${Math.round(left)} of ${Math.round(full)} MB`;
  console.log(`timer${compiles ? ' that compiles' : ''}: ${what}`);
  process.exit();
}, 1_000);
JS
{
  node_modules/.bin/node see.cjs
  node_modules/.bin/node see.cjs compiles
} | tee seen
diff - seen <<'SEEN'
timer: kept
timer that compiles: given back
SEEN
