"""What the workers of the tests run, and what puts it into the queue; see rq.ts."""

import os
import socket
from datetime import timedelta

from redis import Redis
from rq import Queue, SimpleWorker

PORT = int(os.environ["REDIS_PORT"])
QUEUE = "mail"


def hold():
    """Runs until a test lets it end."""
    Redis(port=PORT, db=1, socket_timeout=None).blpop("released")


def push(tasks, delay_ms):
    queue = Queue(QUEUE, connection=Redis(port=PORT))
    for _ in range(tasks):
        if delay_ms is None:
            queue.enqueue(hold, job_timeout=600)
        else:
            queue.enqueue_in(timedelta(milliseconds=delay_ms), hold)


def work(place):
    # in a pod, this is the pod's name
    socket.gethostname = lambda: place
    SimpleWorker([QUEUE], connection=Redis(port=PORT)).work(logging_level="WARNING")


def main(args):
    if args[0] == "push":
        push(int(args[1]), float(args[2]) if len(args) > 2 else None)
    else:
        work(args[1])
