#!/usr/bin/env bash
# croniter lets a step in a range across midnight take an hour too many at midnight
#
# Guess    croniter takes ranges that go backwards ("somehow laxist", its README says), so 22-4 is the hours 22, 23, 0, 1, 2, 3, 4, and of
#          these `22-4/3` is each third: 22, 1, 4. `23-5/3` is 23, 2, 5. huey, whose ranges go backwards as well, says so.
# Truth    It is 22 and 2, and 23 and 3: the first step over the end of the day is one too long, and what then lies behind the end of
#          the range is lost. Where a step fits the end of the day (`20-3/2`) it is right, which is how one tries it. Months, minutes and
#          days are the same: `10-3/2`, from October, is October, December and March.
# Versions croniter 7.0.0, huey 3.5.4 (PyPI)
# Date     2026-11-29
# Source   observed, and _expand in croniter.py, which means to keep the step ("EG to respect such expressions : Apr-Jan/3")
# Output   22-4/3: croniter 22 2, huey 22 1 4 / 23-5/3: croniter 23 3, huey 23 2 5 / 20-3/2: croniter 20 22 0 2, huey 20 22 0 2 /
#          months 10-3/2: croniter 10 12 3, huey 10 12 2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet croniter==7.0.0 huey==3.5.4
cat >see.py <<'PY'
from datetime import datetime, timedelta

from croniter import croniter
from huey import crontab


def by_croniter(expression, at):
    return croniter.match(expression, at)


def by_huey(expression, at):
    minute, hour, day, month, weekday = expression.split()
    return crontab(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday)(at)


def show(title, name, expression, times):
    met = [" ".join(str(name(at)) for at in times if by(expression, at)) for by in (by_croniter, by_huey)]
    print(f"{title}: croniter {met[0]}, huey {met[1]}")


for hours in ("22-4/3", "23-5/3", "20-3/2"):
    noon = datetime(2027, 1, 10, 12)
    show(hours, lambda at: at.hour, f"0 {hours} * * *", [noon + timedelta(hours=n) for n in range(24)])
months = [datetime(2027 + (n > 12), (n - 1) % 12 + 1, 1) for n in range(7, 19)]
show("months 10-3/2", lambda at: at.month, "0 0 1 10-3/2 *", months)
PY
py/bin/python see.py | tee seen
diff - seen <<'SEEN'
22-4/3: croniter 22 2, huey 22 1 4
23-5/3: croniter 23 3, huey 23 2 5
20-3/2: croniter 20 22 0 2, huey 20 22 0 2
months 10-3/2: croniter 10 12 3, huey 10 12 2
SEEN
