"""What the workers of the tests run, and what puts it into the queue; see rq.ts."""

import os
import socket
from datetime import timedelta

from redis import Redis
from rq import Queue, RateLimit, Repeat, Retry, SimpleWorker
from rq.cli import main as command
from rq.command import send_stop_job_command
from rq.job import Job
from rq.registry import ReadyJobRegistry, StartedJobRegistry

PORT = int(os.environ["REDIS_PORT"])
QUEUE = os.environ.get("QUEUE", "mail")


def hold():
    """Runs until a test lets it end."""
    Redis(port=PORT, db=1, socket_timeout=None).blpop("released")


def end():
    pass


def fail():
    raise ValueError("as it was told")


def kinds(queue):
    first = queue.enqueue(hold, job_timeout=600)
    queue.enqueue(hold, depends_on=first)
    queue.enqueue(end).cancel()
    queue.enqueue(end, repeat=Repeat(times=1, interval=3600))
    queue.enqueue(fail, retry=Retry(max=1, interval=3600))


def limited(queue, jobs):
    for _ in range(jobs):
        queue.enqueue(hold, job_timeout=600, rate_limit=RateLimit("one", 1))


def ready(queue):
    """What a process leaves that dies after it has ended a job, before it enqueues what waited for that."""
    job = Job.create(hold, connection=queue.connection, origin=QUEUE)
    job.save()
    with queue.connection.pipeline() as pipeline:
        ReadyJobRegistry(QUEUE, connection=queue.connection).register_jobs([job], pipeline)
        pipeline.execute()


def stop(queue):
    for job in StartedJobRegistry(queue=queue).get_job_ids():
        send_stop_job_command(queue.connection, job)


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
    queue = Queue(QUEUE, connection=Redis(port=PORT))
    match args:
        case ["push", tasks, *delay]:
            push(int(tasks), float(delay[0]) if delay else None)
        case ["work", place]:
            work(place)
        case ["pool", workers]:
            url = f"redis://localhost:{PORT}/0"
            command(["worker-pool", QUEUE, "--num-workers", workers, "--url", url])
        case ["limited", jobs]:
            limited(queue, int(jobs))
        case [name]:
            {"kinds": kinds, "ready": ready, "stop": stop}[name](queue)
