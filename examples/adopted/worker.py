"""A plain worker, as many teams have one: RPOP, run, HSET. It knows nothing of Millrace, and needs not.

Usage: worker.py. Redis is where REDIS_URL says. SIGTERM ends it after the task that it runs.
"""

import json
import os
import signal
import zlib

import redis

stopping = False


def stop(*_):
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)
r = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))
while not stopping:
    popped = r.brpop("checksums", timeout=1)
    if popped is None:
        continue
    task = json.loads(popped[1])
    r.hset("checksums:results", task["id"], f"{zlib.crc32(task['text'].encode()):08x}")
