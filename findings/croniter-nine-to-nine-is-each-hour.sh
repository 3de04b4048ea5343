#!/usr/bin/env bash
# croniter: the hours 9-9 are all hours, and Friday to Friday is each day
#
# Guess    A range from a value to itself is that value: `0 9-9 * * *` is nine o'clock, `0 9 * * 5-5` is Fridays, as in cron, and as in each of
#          the other libraries here. No one writes it so, but a form with a "from" and a "to", or a template of two values, does.
# Truth    For croniter such a range goes once around, and means the whole field: 24 starts a day instead of one, and seven days instead of
#          Friday. MON-MON is each day too, and 9-9/6 is 0, 6, 12 and 18 o'clock. Who enters 9-10 and then narrows it to 9-9 has widened it. RQ,
#          SAQ and procrastinate read their schedules with croniter.
# Versions croniter 7.0.0, cronsim 2.8, huey 3.5.4 (PyPI), croner 11.0.1, cron-parser 5.10.6 (npm)
# Date     2026-11-30
# Source   observed; README of croniter, "Note about Ranges", since pallets-eco/croniter#257 of August 2026
# Output   starts in a week: croniter `0 9-9 * * *` 168, `0 9 * * 5-5` 7; cronsim, huey, croner and cron-parser 7 and 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet croniter==7.0.0 cronsim==2.8 huey==3.5.4
npm init -y >/dev/null && npm install --silent --no-fund --no-audit croner@11.0.1 cron-parser@5.10.6
cat >see.py <<'PY'
from datetime import datetime, timedelta

from croniter import croniter_range
from cronsim import CronSim
from huey import crontab

start, end = datetime(2027, 1, 4), datetime(2027, 1, 11) - timedelta(minutes=1)


def by_croniter(expression):
    return sum(1 for _ in croniter_range(start, end, expression))


def by_cronsim(expression):
    times = CronSim(expression, start - timedelta(minutes=1))
    return sum(1 for _ in iter(lambda: next(times) <= end, False))


def by_huey(expression):
    minute, hour, day, month, weekday = expression.split()
    due = crontab(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday)
    return sum(due(start + timedelta(minutes=n)) for n in range(7 * 24 * 60))


for name, starts in (("croniter", by_croniter), ("cronsim", by_cronsim), ("huey", by_huey)):
    print(f"{name}: {starts('0 9-9 * * *')} and {starts('0 9 * * 5-5')}")
PY
cat >see.mjs <<'JS'
import { CronExpressionParser } from 'cron-parser';
import { Cron } from 'croner';

const tz = 'UTC';
const before = new Date('2027-01-03T23:59:00Z');
const end = new Date('2027-01-11T00:00:00Z');
const show = (name, starts) => console.log(`${name}: ${starts('0 9-9 * * *')} and ${starts('0 9 * * 5-5')}`);

show('croner', (expression) => new Cron(expression, { timezone: tz }).nextRuns(200, before).filter((time) => time < end).length);
show('cron-parser', (expression) => {
  const times = CronExpressionParser.parse(expression, { currentDate: before, tz });
  return times.take(200).filter((time) => time.toDate() < end).length;
});
JS
py/bin/python see.py | tee seen
node see.mjs | tee -a seen
diff - seen <<'SEEN'
croniter: 168 and 7
cronsim: 7 and 1
huey: 7 and 1
croner: 7 and 1
cron-parser: 7 and 1
SEEN
