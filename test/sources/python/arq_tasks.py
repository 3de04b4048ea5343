"""What the workers of the tests run, and what puts it into the queue; see arq.ts."""

import asyncio
import os
from datetime import timedelta

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker
from redis.asyncio import Redis

PORT = int(os.environ["REDIS_PORT"])
SETTINGS = RedisSettings(port=PORT)


async def hold(context):
    """Runs until a test lets it end."""
    async with Redis(port=PORT, db=1, socket_timeout=None) as gate:
        await gate.blpop("released")


async def started(context):
    async with Redis(port=PORT, db=1, socket_timeout=None) as gate:
        await gate.incr("started")


async def push(tasks, delay_ms):
    pool = await create_pool(SETTINGS)
    more = {} if delay_ms is None else {"_defer_by": timedelta(milliseconds=delay_ms)}
    for _ in range(tasks):
        await pool.enqueue_job("hold", **more)


def main(args):
    if args[0] == "push":
        asyncio.run(push(int(args[1]), float(args[2]) if len(args) > 2 else None))
    else:
        asyncio.set_event_loop(asyncio.new_event_loop())
        Worker([hold], redis_settings=SETTINGS, on_startup=started, max_jobs=1, job_timeout=600).run()
