#!/usr/bin/env bash
# A loop over setInterval of timers/promises makes up for every tick that a slow round missed, all in one turn of the event loop
#
# Guess    `for await (const _ of setInterval(100))` is the loop form of setInterval, which drops what it missed: after a round of
#          1,050 ms the next comes at once or with the next tick, and the other nine are gone.
# Truth    The ticks are counted while the body runs, and handed out as fast as the loop takes them: nine more rounds follow before
#          anything else of the process has a turn. A loop that polls, reconciles or beats a heart every second answers an
#          outage of an hour with 3,600 rounds on end, when whatever was slow has just come back.
# Versions Node.js 24.21.0 (npm package node)
# Date     2026-11-29
# Source   observed; Node's documentation: "an async iterator that generates values in an interval of delay ms"; it names no queue
# Output   callback: after a round of 1,050 ms, at most 1 more in the same turn / for await: after a round of 1,050 ms, at least 9 more
#          in the same turn
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0
cat >see.mjs <<'JS'
import { setInterval as ticks } from 'node:timers/promises';

/** Counts the rounds that begin after a slow one, until the event loop comes to its next phase; then the interval ends. */
class Turn {
  rounds = -1;
  over = false;
  begin() {
    this.rounds++;
    return this.rounds === 0;
  }
  watch() {
    setImmediate(() => (this.over = true));
  }
  report(name) {
    const few = this.rounds <= 1 ? 'at most 1' : this.rounds >= 9 ? 'at least 9' : `${this.rounds}`;
    console.log(`${name}: after a round of 1,050 ms, ${few} more in the same turn`);
  }
}

/** A round that keeps the thread. */
function busy(ms) {
  for (const end = performance.now() + ms; performance.now() < end; );
}
await new Promise((resolve) => {
  const turn = new Turn();
  const timer = setInterval(() => {
    if (turn.over) {
      clearInterval(timer);
      turn.report('callback');
      return resolve();
    }
    if (!turn.begin()) return;
    busy(1_050);
    turn.watch();
  }, 100);
});

const turn = new Turn();
for await (const _ of ticks(100)) {
  if (turn.over) break;
  if (!turn.begin()) continue;
  // a round that waits for something slow
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  turn.watch();
}
turn.report('for await');
JS
node_modules/.bin/node see.mjs | tee seen
diff - seen <<'SEEN'
callback: after a round of 1,050 ms, at most 1 more in the same turn
for await: after a round of 1,050 ms, at least 9 more in the same turn
SEEN
