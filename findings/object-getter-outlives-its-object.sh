#!/usr/bin/env bash
# What a getter in an object literal can reach outlives the object through every minor collection of V8
#
# Guess    An object that nobody holds any more goes with the next minor collection (scavenge), and what only it could reach goes
#          with it: `{ get data() { … } }` as well as `{ data: () => … }`. Only what had become old by then waits for a major one.
# Truth    V8 makes the pair of getter and setter that an object literal defines in the old generation, each time that it is evaluated. So
#          the getter, and all that it can reach, stays through any number of minor collections, until a major one. In a loop that makes
#          such an object for each batch of work, each minor collection copies earlier batches, too. A method keeps nothing.
# Versions Node.js 24.21.0 (npm package node), V8 13.6
# Date     2026-11-29
# Source   observed; Factory::NewAccessorPair in V8's src/heap/factory.cc
# Output   method: under 1 MB after five minor collections, under 1 MB after a major one / getter: over 5 MB, under 1 MB
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0
cat >see.mjs <<'JS'
const make = {
  method: (data) => ({ data: () => data }),
  getter: (data) => ({ get data() { return data; } }),
};
const usedMb = () => process.memoryUsage().heapUsed / 2 ** 20;
for (const [name, of] of Object.entries(make)) {
  gc();
  const before = usedMb();
  const left = () => {
    const mb = usedMb() - before;
    return mb < 1 ? 'under 1 MB' : mb > 5 ? 'over 5 MB' : `${mb} MB`;
  };
  for (let i = 0; i < 100; i++) of(Array.from({ length: 10_000 }, () => ({ i })));
  for (let i = 0; i < 5; i++) gc({ type: 'minor' });
  const minor = left();
  gc();
  console.log(`${name}: ${minor} after five minor collections, ${left()} after a major one`);
}
JS
node_modules/.bin/node --expose-gc see.mjs
