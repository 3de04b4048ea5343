"""The same function for all that are compared in `handlers` (bench/handlers.ts), with what enqueues it and what runs it.

Usage: python_noop.py push|work|chord LIBRARY N: pushes N tasks to a queue that nobody works on, or works with N processes, or joins a
chord of N tasks (Celery only; `batches`).
"""

import asyncio
import multiprocessing
import os
import sys

from redis import Redis

URL = os.environ.get("REDIS_URL", "redis://localhost:6379")
LIBRARY = sys.argv[2] if len(sys.argv) > 2 else ""


def noop(task):
    """For Millrace, RQ and Celery."""
    return task["n"]


def join(results):
    """What follows a chord of Celery's."""
    return len(results)


def report_ready(processes=1):
    Redis.from_url(URL).incrby(f"ready:{LIBRARY}", processes)


def task_of(number):
    return {"id": f"task-{number:08}", "n": number}


# RQ


def rq_push(count):
    from rq import Queue

    queue = Queue("aside", connection=Redis.from_url(URL))
    for first in range(0, count, 500):
        jobs = [Queue.prepare_data(noop, (task_of(i),)) for i in range(first, min(first + 500, count))]
        queue.enqueue_many(jobs)


def rq_work():
    from rq import SimpleWorker

    report_ready()
    SimpleWorker(["noop"], connection=Redis.from_url(URL)).work(logging_level="WARNING")


# arq


async def arq_noop(context, task):
    return task["n"]


async def arq_pushes(count):
    from arq import create_pool
    from arq.connections import RedisSettings

    pool = await create_pool(RedisSettings.from_dsn(URL), default_queue_name="aside")
    for first in range(0, count, 100):
        some = range(first, min(first + 100, count))
        await asyncio.gather(*(pool.enqueue_job("arq_noop", task_of(i)) for i in some))


async def arq_started(context):
    report_ready()


def arq_work():
    from arq.connections import RedisSettings
    from arq.worker import Worker

    asyncio.set_event_loop(asyncio.new_event_loop())
    settings = RedisSettings.from_dsn(URL)
    Worker([arq_noop], redis_settings=settings, queue_name="noop", on_startup=arq_started, max_jobs=100).run()


# Celery


def celery_app():
    from celery import Celery, signals

    app = Celery("python_noop", broker=URL, backend=f"{URL}/1")
    app.conf.update(task_default_queue="noop", result_extended=False)
    app.task(name="noop")(noop)
    app.task(name="join")(join)
    signals.worker_ready.connect(lambda **_: report_ready(), weak=False)
    return app


def celery_push(count):
    app = celery_app()
    with app.connection_for_write() as connection:
        for i in range(count):
            app.send_task("noop", [task_of(i)], queue="aside", connection=connection)


def celery_chord(count):
    """Fans out, and waits for what follows. Prints the seconds that took."""
    import time

    from celery import chord, group

    app = celery_app()
    noop_task, join_task = app.tasks["noop"], app.tasks["join"]
    began = time.monotonic()
    header = group([noop_task.s(task_of(i)) for i in range(count)])
    joined = chord(header)(join_task.s())
    found = joined.get(timeout=600)
    took = time.monotonic() - began
    if found != count:
        raise SystemExit(f"the chord joined {found} of {count} results")
    print(took)


def celery_work(processes):
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    celery_app().worker_main(["worker", "--pool", "prefork", "--concurrency", str(processes), *quiet])


def work(processes):
    if LIBRARY == "celery":
        celery_work(processes)
        return
    run = {"rq": rq_work, "arq": arq_work}[LIBRARY]
    others = [multiprocessing.Process(target=run, daemon=True) for _ in range(processes - 1)]
    for other in others:
        other.start()
    run()


def push(count):
    if LIBRARY == "arq":
        asyncio.run(arq_pushes(count))
    else:
        {"rq": rq_push, "celery": celery_push}[LIBRARY](count)


if __name__ == "__main__":
    # under its own name, which the tasks carry to the workers
    import python_noop

    modes = {"push": python_noop.push, "work": python_noop.work, "chord": python_noop.celery_chord}
    modes[sys.argv[1]](int(sys.argv[3]))
