"""Celery in the scale-in experiment (scale-in-workers.ts): what its workers run, and what sends tasks."""

import os
import socket
import sys
import time

from celery import Celery
from redis import Redis

URL = os.environ["REDIS_URL"]

app = Celery("celery_naps", broker=URL)
app.conf.update(
    task_default_queue="mail",
    # as Celery's documentation advises for tasks of seconds
    worker_prefetch_multiplier=1,
    # a tenth of its default
    broker_transport_options={"visibility_timeout": 360},
)


@app.task(name="nap")
def nap(task, ms):
    redis = Redis.from_url(URL)

    def note(what):
        redis.rpush(f"run:{task}", f"{what} {socket.gethostname()} {time.time() * 1000:.0f}")

    note("begin")
    time.sleep(ms / 1000)
    note("end")


def push():
    with app.connection_for_write() as connection:
        print("ready", flush=True)
        for line in sys.stdin:
            task, ms = line.split()
            nap.apply_async([task, int(ms)], connection=connection, ignore_result=True)


if __name__ == "__main__":
    push()
