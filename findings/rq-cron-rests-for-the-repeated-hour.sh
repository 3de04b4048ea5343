#!/usr/bin/env bash
# RQ: a cron job of each minute is not enqueued for an hour when the clocks go back
#
# Guess    A job of each minute (`* * * * *`) has no time of day that could come twice or never; it is enqueued each minute, also in the
#          night in which the clocks go back, as with croniter, which RQ asks for the next time.
# Truth    RQ asks croniter for the next local time without a zone, and reads a time that comes twice as its first. From 02:59 in summer
#          time that is 03:00 in winter time, 61 minutes later: nothing is enqueued in the second hour from 2 to 3. With `interval`
#          instead of `cron`, or with TZ=UTC for the scheduler, there is no gap.
# Versions rq 3.0.0, croniter 7.0.0 (PyPI)
# Date     2026-11-29
# Source   observed, and get_next_enqueue_time in rq/cron.py; the documentation says that cron fields match local time
# Output   croniter, Berlin: 02:59 summer, 02:00 winter / RQ, Berlin: 02:59 summer, 03:00 winter / RQ, UTC: 00:59, 01:00
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet rq==3.0.0 croniter==7.0.0
cat >see.py <<'PY'
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from croniter import croniter
from rq.cron import CronJob

zone = ZoneInfo(sys.argv[1])
start = datetime(2027, 10, 31, 0, 58, tzinfo=timezone.utc)


def show(at):
    season = "" if zone.key == "UTC" else " summer" if at.astimezone(zone).dst() else " winter"
    return at.astimezone(zone).strftime("%H:%M") + season


job = CronJob("queue", func_name="module.function", cron="* * * * *")
enqueued = [start]
for _ in range(2):
    job.set_enqueue_time(enqueued[-1])
    enqueued.append(job.next_enqueue_time)
if zone.key != "UTC":
    each = croniter("* * * * *", start.astimezone(zone))
    print(f"croniter, {zone.key}: {show(each.get_next(datetime))}, {show(each.get_next(datetime))}")
print(f"RQ, {zone.key}: {show(enqueued[1])}, {show(enqueued[2])}")
PY
for zone in Europe/Berlin UTC; do TZ=$zone py/bin/python see.py "$zone" >>seen; done
cat seen
diff - seen <<'SEEN'
croniter, Europe/Berlin: 02:59 summer, 02:00 winter
RQ, Europe/Berlin: 02:59 summer, 03:00 winter
RQ, UTC: 00:59, 01:00
SEEN
