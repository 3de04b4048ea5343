#!/usr/bin/env bash
# An iterator of a Set that rests keeps alive all that passes through the Set after it
#
# Guess    An iterator holds its Set and a position. Of 30,010 objects that are added to a Set and deleted again, ten at a time, ten are
#          left in it when all is done, so the garbage collector takes the others.
# Truth    More than half are alive for as long as the iterator is, although neither it nor the Set can ever yield them. Each time the
#          Set is made anew to get rid of deleted entries, the old table stays as the iterator's way to the next one, contents included.
#          `[...set]`, or an iterator that goes on meanwhile, keeps nothing.
# Versions Node.js 24.21.0 (npm package node), V8 13.6
# Date     2026-11-29
# Source   observed; ECMAScript says what such an iterator yields, nothing of what it keeps
# Output   none: under 100 alive / resting: over 10,000 alive / going on: under 100 alive
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0
cat >see.mjs <<'JS'
async function alive(iterate) {
  const set = new Set();
  const iterator = iterate === 'none' ? undefined : set.values();
  const [queue, all] = [[], []];
  for (let round = 0; round < 3_000; round++) {
    while (queue.length < 20) {
      const one = {};
      set.add(one);
      queue.push(one);
      all.push(new WeakRef(one));
    }
    if (iterate === 'going on') for (let i = 0; i < 10; i++) iterator.next();
    for (const one of queue.splice(0, 10)) set.delete(one);
  }
  // what a WeakRef was made for lives until the end of the task that made it
  await new Promise((resolve) => setImmediate(resolve));
  gc();
  const count = all.filter((one) => one.deref()).length;
  // both are used after the count, so that they are alive at it
  if (set.size !== 10 || iterator?.next === null) throw new Error('the set is not what it was');
  return count < 100 ? 'under 100' : count > 10_000 ? 'over 10,000' : `${count}`;
}
for (const how of ['none', 'resting', 'going on']) console.log(`${how}: ${await alive(how)} alive`);
JS
node_modules/.bin/node --expose-gc see.mjs | tee seen
diff - seen <<'SEEN'
none: under 100 alive
resting: over 10,000 alive
going on: under 100 alive
SEEN
