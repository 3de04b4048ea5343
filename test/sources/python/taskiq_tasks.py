"""What the workers of the tests run, and what puts it into the queue; see taskiq.ts."""

import asyncio
import datetime
import os
import sys

from redis.asyncio import Redis
from taskiq import TaskiqEvents, TaskiqScheduler
from taskiq_redis import ListQueueBroker, ListRedisScheduleSource, RedisStreamBroker

PORT = int(os.environ["REDIS_PORT"])
URL = f"redis://127.0.0.1:{PORT}"
QUEUE = os.environ.get("QUEUE", "mail")

if os.environ["BROKER"] == "stream":
    broker = RedisStreamBroker(URL, queue_name=QUEUE, consumer_name=os.environ.get("PLACE"), xread_count=1)
else:
    broker = ListQueueBroker(URL, queue_name=QUEUE)

schedules = ListRedisScheduleSource(URL)
scheduler = TaskiqScheduler(broker, [schedules])


@broker.task(task_name="hold")
async def hold():
    """Runs until a test lets it end."""
    async with Redis(port=PORT, db=1, socket_timeout=None) as gate:
        await gate.blpop("released")


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def started(_state):
    async with Redis(port=PORT, db=1, socket_timeout=None) as gate:
        await gate.incr("started")


async def push(tasks, delay_ms):
    # makes the group
    await broker.startup()
    for _ in range(tasks):
        if delay_ms is None:
            await hold.kiq()
        else:
            delay = datetime.timedelta(milliseconds=delay_ms)
            await hold.schedule_by_time(schedules, datetime.datetime.now(datetime.timezone.utc) + delay)
    await broker.shutdown()


def main(args):
    if args[0] == "push":
        asyncio.run(push(int(args[1]), float(args[2]) if len(args) > 2 else None))
        return
    if args[0] == "work":
        os.environ["PLACE"] = args[1]
        command = ["worker", "--workers", "1", "--max-async-tasks", "1", "taskiq_tasks:broker"]
    else:
        command = ["scheduler", "taskiq_tasks:scheduler"]
    os.execv(sys.executable, [sys.executable, "-m", "taskiq", *command])
