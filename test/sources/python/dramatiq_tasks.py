"""What the workers of the tests run, and what puts it into the queue; see dramatiq.ts."""

import os
import signal

# no more than runs
os.environ["dramatiq_queue_prefetch"] = "1"

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

PORT = int(os.environ["REDIS_PORT"])
dramatiq.set_broker(RedisBroker(port=PORT, namespace=os.environ.get("NAMESPACE", "dramatiq")))


@dramatiq.actor(queue_name=os.environ.get("QUEUE", "mail"), time_limit=600_000)
def hold():
    """Runs until a test lets it end."""
    Redis(port=PORT, db=1, socket_timeout=None).blpop("released")


def push(tasks, delay_ms):
    for _ in range(tasks):
        hold.send_with_options(delay=delay_ms)


def work():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=1)
    worker.start()
    Redis(port=PORT, db=1).incr("started")
    signal.sigwait([signal.SIGTERM])
    worker.stop()


def main(args):
    if args[0] == "push":
        push(int(args[1]), int(args[2]) if len(args) > 2 else None)
    else:
        work()
