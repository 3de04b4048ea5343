"""What the workers of the tests run, and what puts it into the queue; see celery.ts."""

import json
import os
import sys

from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast
from redis import Redis

PORT = int(os.environ["REDIS_PORT"])

BROKER = os.environ.get("BROKER") or f"redis://localhost:{PORT}/{os.environ.get('BROKER_DB', '0')}"

app = Celery("celery_tasks", broker=BROKER)
app.conf.update(
    task_default_queue="mail",
    worker_prefetch_multiplier=1,
    task_serializer=os.environ.get("SERIALIZER", "json"),
    accept_content=["json", os.environ.get("SERIALIZER", "json")],
    broker_transport_options=json.loads(os.environ.get("TRANSPORT", "{}")),
    task_acks_late=os.environ.get("ACKS_LATE") == "1",
)
if os.environ.get("OWN_KEYS") == "1":
    media = Exchange("media", type="topic")
    app.conf.task_queues = [
        Queue("mail", media, routing_key="mail.#"),
        Queue("sms", Exchange("direct"), routing_key="text.message"),
    ]
if os.environ.get("OWN_QUEUES") == "1":
    app.conf.worker_direct = True
    app.conf.task_queues = [Queue("mail"), Queue("sms"), Broadcast("news")]


@app.task(name="hold")
def hold(*_):
    """Runs until a test lets it end."""
    Redis(port=PORT, db=1, socket_timeout=None).blpop("released")


def push(tasks, options):
    arguments = options.pop("args", [])
    if "delay_ms" in options:
        options["countdown"] = options.pop("delay_ms") / 1e3
    with app.connection_for_write() as connection:
        for _ in range(tasks):
            hold.apply_async(arguments, connection=connection, ignore_result=True, **options)


if __name__ == "__main__":
    push(int(sys.argv[1]), json.loads(sys.argv[2]))
