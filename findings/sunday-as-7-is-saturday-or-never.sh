#!/usr/bin/env bash
# Sunday written as 7: Bree starts the job on Saturdays, taskiq's scheduler never, and neither says a word
#
# Guess    In the day of the week of cron both 0 and 7 are Sunday (crontab(5)); a library that does not know the 7 refuses it. So
#          `0 9 * * 7`, where it is accepted, is Sunday at nine, and `0 9 * * 1-7` is each day.
# Truth    Bree's validation knows that 7 is Sunday, and lets it pass; its parser (later) adds one and cuts what is above 7 off, and its 7 is
#          Saturday. taskiq asks pycron, where Sunday is 0 and 7 is a number that no day has. `1-7` is Monday to Saturday in both.
# Versions bree 9.2.9 with @breejs/later 4.2.0, croner 11.0.1 (npm); taskiq 0.13.0 with pycron 3.3.0 (PyPI)
# Date     2026-11-29
# Source   observed; neither documentation tells what 7 is (cron-validate's, which Bree uses, does: Sunday)
# Output   croner 7: Sun; 1-7: all / Bree 7: Sat; 1-7: all but Sun / taskiq 7: none; 1-7: all but Sun
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet taskiq==0.13.0 pycron==3.3.0
npm init -y >/dev/null && npm install --silent --no-fund --no-audit bree@9.2.9 @breejs/later@4.2.0 croner@11.0.1
echo >job.mjs
cat >see.mjs <<'JS'
import { resolve } from 'node:path';
import later from '@breejs/later';
import Bree from 'bree';
import { Cron } from 'croner';

const names = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const monday = new Date('2027-01-04T00:00:00Z');
const week = (starts) => starts.filter((at) => at - monday < 7 * 86_400_000).map((at) => names[at.getUTCDay()]);

function days(starts) {
  const missing = names.filter((name) => !starts.includes(name));
  return missing.length === 0 ? 'all' : missing.length === 1 ? `all but ${missing}` : `${starts.join(' ') || 'none'}`;
}

async function bree(cron) {
  const scheduler = new Bree({ root: false, logger: false, timezone: 'UTC', jobs: [{ name: 'job', path: resolve('job.mjs'), cron }] });
  await scheduler.init();
  return later.schedule(scheduler.config.jobs[0].interval).next(8, monday);
}
const croner = async (cron) => new Cron(cron, { timezone: 'UTC', paused: true }).nextRuns(8, monday);
for (const [name, starts] of Object.entries({ croner, Bree: bree })) {
  console.log(`${name} 7: ${days(week(await starts('0 9 * * 7')))}; 1-7: ${days(week(await starts('0 9 * * 1-7')))}`);
}
JS
cat >see.py <<'PY'
from datetime import datetime, timedelta, timezone

from taskiq.cli.scheduler.run import is_cron_task_now

week = [datetime(2027, 1, 3, 9, tzinfo=timezone.utc) + timedelta(days=day) for day in range(7)]


def days(cron):
    starts = [day.strftime("%a") for day in week if is_cron_task_now(cron, day)]
    missing = [day.strftime("%a") for day in week if day.strftime("%a") not in starts]
    return f"all but {missing[0]}" if len(missing) == 1 else " ".join(starts) or "none"


print(f"taskiq 7: {days('0 9 * * 7')}; 1-7: {days('0 9 * * 1-7')}")
PY
node see.mjs | tee seen
py/bin/python see.py | tee -a seen
diff - seen <<'SEEN'
croner 7: Sun; 1-7: all
Bree 7: Sat; 1-7: all but Sun
taskiq 7: none; 1-7: all but Sun
SEEN
