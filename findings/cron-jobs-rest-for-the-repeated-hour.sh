#!/usr/bin/env bash
# RQ's cron and Celery's beat start a job of each minute not once in an hour when the clocks go back
#
# Guess    A job of each minute (`* * * * *`) has no time of day that could come twice or never; it starts each minute, also in the night in
#          which the clocks go back, as with croniter, which RQ asks for the next time.
# Truth    Both reckon by the clock on the wall. RQ asks croniter for the next local time without a zone, and reads one that comes twice as
#          its first; for Celery a clock that shows less than at the last run is not due. From 02:59 in summer time the next is 03:00 in
#          winter time, 61 minutes later. With RQ's `interval`, Celery's schedule(60), or in UTC, there is no gap.
# Versions rq 3.0.0, croniter 7.0.0, celery 5.7.0 (PyPI)
# Date     2026-11-29
# Source   observed, and get_next_enqueue_time in rq/cron.py; RQ's documentation says that cron fields match local time, and Celery's warns
#          of daylight saving time where it speaks of another time zone than UTC, without this
# Output   croniter: 02:59 summer, 02:00 winter / RQ: 02:59 summer, 03:00 winter / Celery: 02:59 summer, 03:00 winter
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet rq==3.0.0 croniter==7.0.0 celery==5.7.0
cat >see.py <<'PY'
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from celery import Celery
from celery.schedules import crontab
from croniter import croniter
from rq.cron import CronJob

berlin = ZoneInfo("Europe/Berlin")
start = datetime(2027, 10, 31, 0, 58, tzinfo=timezone.utc)


def show(name, starts):
    local = [at.astimezone(berlin) for at in starts]
    print(f"{name}: {', '.join(at.strftime('%H:%M') + (' summer' if at.dst() else ' winter') for at in local)}")


def by_rq():
    job = CronJob("queue", func_name="module.function", cron="* * * * *")
    at = start
    for _ in range(2):
        job.set_enqueue_time(at)
        at = job.next_enqueue_time
        yield at


def by_celery():
    # what beat does at each of its ticks, here each ten seconds
    now = start.astimezone(berlin)
    schedule = crontab(nowfun=lambda: now, app=Celery(timezone="Europe/Berlin"))
    last, found = now, 0
    for tick in range(1, 2 * 360):
        now = (start + timedelta(seconds=10 * tick)).astimezone(berlin)
        if found < 2 and schedule.is_due(last).is_due:
            last, found = now, found + 1
            yield now


each = croniter("* * * * *", start.astimezone(berlin))
show("croniter", [each.get_next(datetime), each.get_next(datetime)])
show("RQ", by_rq())
show("Celery", by_celery())
PY
TZ=Europe/Berlin py/bin/python see.py | tee seen
diff - seen <<'SEEN'
croniter: 02:59 summer, 02:00 winter
RQ: 02:59 summer, 03:00 winter
Celery: 02:59 summer, 03:00 winter
SEEN
