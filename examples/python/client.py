"""A client that knows Redis and nothing of Millrace: LPUSH the tasks, HMGET the results.

Usage: client.py [number of values]. Redis is where MILLRACE_REDIS_URL says, or redis://localhost:6379.
"""

import json
import os
import sys
import time

import redis

count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
r = redis.Redis.from_url(os.environ.get("MILLRACE_REDIS_URL", "redis://localhost:6379"))

ids = [f"sweep/{i}" for i in range(count + 1)]
tasks = [json.dumps({"id": id, "r": 3 + i / count}) for i, id in enumerate(ids)]
r.lpush("task_queue", *tasks)

results = {}
while len(results) < len(ids):
    missing = [id for id in ids if id not in results]
    found = zip(missing, r.hmget("result", missing))
    results |= {id: json.loads(value) for id, value in found if value is not None}
    time.sleep(0.05)

for id in ids:
    value = results[id]["exponent"]
    print(f"r = {results[id]['r']:.3f}  {value:8.4f}  {'chaotic' if value > 0 else ''}".rstrip())
