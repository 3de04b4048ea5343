"""What the workers of the tests run, and what puts it into the queue; see saq.ts."""

import asyncio
import os
import time

from redis.asyncio import Redis
from saq import Queue, Worker

PORT = int(os.environ["REDIS_PORT"])


def open_queue():
    return Queue.from_url(f"redis://127.0.0.1:{PORT}", name=os.environ.get("QUEUE", "mail"))


async def hold(context):
    """Runs until a test lets it end."""
    async with Redis(port=PORT, db=1, socket_timeout=None) as gate:
        await gate.blpop("released")


async def push(tasks, delay_ms):
    queue = open_queue()
    # no timeout: nothing ends a job that a test holds
    more = {} if delay_ms is None else {"scheduled": int(time.time() + delay_ms / 1000)}
    for _ in range(tasks):
        await queue.enqueue("hold", timeout=0, **more)
    await queue.disconnect()


async def work(place):
    queue = open_queue()
    # its first sweep on a server without its script aborts what was taken meanwhile
    await queue.sweep()
    await Worker(queue, [hold], id=place, concurrency=1).start()


def main(args):
    if args[0] == "push":
        asyncio.run(push(int(args[1]), float(args[2]) if len(args) > 2 else None))
    else:
        asyncio.run(work(args[1]))
