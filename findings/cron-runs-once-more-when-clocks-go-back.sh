#!/usr/bin/env bash
# cron (npm): when the clocks go back, a daily job runs an hour before its time, and then at its time
#
# Guess    In Europe/Berlin the hour from 2 to 3 comes twice in autumn, so a job at 02:30 may run twice. A job at 03:00 is outside of
#          that hour, and three o'clock comes once; it runs once, at 03:00, as on each other day.
# Truth    It runs at 02:00, the second one, and again at 03:00. The same for midnight where the hour before it comes twice: at 23:00 of
#          the day before, and at midnight. So that no repeated hour is left out, cron moves a start that it has found back by an hour if
#          the hour before it comes twice, without a look at whether the job has that hour. 02:00 itself, which comes twice, is met once.
# Versions cron 4.4.0 (npm), with luxon 3.7.2; Node.js 24.21.0
# Date     2026-11-29
# Source   observed, and getNextDateFrom in its src/time.ts; the README of cron does not speak of clocks that change
# Output   Berlin 03:00: 31 02:00 (winter), 31 03:00, 01 03:00 / Berlin 02:00: 31 02:00 (summer), 01 02:00 / Cairo 00:00: 28 23:00
#          (winter), 29 00:00, 30 00:00
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit cron@4.4.0 luxon@3.7.2
cat >see.mjs <<'JS'
import { mock } from 'node:test';
import { CronJob } from 'cron';
import { DateTime } from 'luxon';

/** The starts of a job in two days, by the clock of its zone; the clock of the machine is moved on by the minute. */
async function see(name, cronTime, timeZone, from) {
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: new Date(from) });
  const starts = [];
  const onTick = () => {
    const at = DateTime.now().setZone(timeZone);
    const offsets = [at.minus({ hours: 1 }).offset, at.plus({ hours: 1 }).offset];
    const twice = offsets[0] === offsets[1] ? '' : offsets[0] > at.offset ? ' (winter)' : ' (summer)';
    starts.push(at.toFormat('dd HH:mm') + twice);
  };
  const job = CronJob.from({ cronTime, timeZone, onTick, start: true });
  for (let minute = 0; minute < 48 * 60; minute++) mock.timers.tick(60_000);
  await job.stop();
  mock.timers.reset();
  console.log(`${name}: ${starts.join(', ')}`);
}
await see('Berlin 03:00', '0 3 * * *', 'Europe/Berlin', '2027-10-30T20:00:00Z');
await see('Berlin 02:00', '0 2 * * *', 'Europe/Berlin', '2027-10-30T20:00:00Z');
await see('Cairo 00:00', '0 0 * * *', 'Africa/Cairo', '2027-10-28T12:00:00Z');
JS
node --no-warnings see.mjs | tee seen
diff - seen <<'SEEN'
Berlin 03:00: 31 02:00 (winter), 31 03:00, 01 03:00
Berlin 02:00: 31 02:00 (summer), 01 02:00
Cairo 00:00: 28 23:00 (winter), 29 00:00, 30 00:00
SEEN
