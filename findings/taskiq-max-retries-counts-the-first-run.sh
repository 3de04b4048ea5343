#!/usr/bin/env bash
# taskiq: a task with max_retries=1 that fails is not tried again
#
# Guess    max_retries is how often a task may be retried, so that 1 is two runs and 3 (the default) four, as in dramatiq and Celery.
# Truth    It is how often the task runs at all, the first run included: 1 is one run, 3 is three. SimpleRetryMiddleware and
#          SmartRetryMiddleware do the same. Who allows one retry, for a task that should not run often, has none.
# Versions taskiq 0.13.0, dramatiq 2.2.1 (PyPI)
# Date     2026-11-30
# Source   observed, and on_error of both middlewares; taskiq's documentation calls it the maximum number of retries
# Output   max_retries=1: taskiq simple 1, smart 1, dramatiq 2 runs / max_retries=3: taskiq simple 3, smart 3, dramatiq 4 runs
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet taskiq==0.13.0 dramatiq==2.2.1
cat >see.py <<'PY'
import asyncio

import dramatiq
from dramatiq.brokers.stub import StubBroker
from taskiq import InMemoryBroker, SimpleRetryMiddleware, SmartRetryMiddleware


async def runs_of_taskiq(middleware, most):
    broker = InMemoryBroker(await_inplace=True).with_middlewares(middleware())
    runs = 0

    @broker.task(retry_on_error=True, max_retries=most, delay=0)
    async def fail():
        nonlocal runs
        runs += 1
        raise RuntimeError("failed")

    await broker.startup()
    await fail.kiq()
    await broker.wait_all()
    await broker.shutdown()
    return runs


def runs_of_dramatiq(most):
    broker = StubBroker()
    dramatiq.set_broker(broker)
    runs = 0

    @dramatiq.actor(max_retries=most, min_backoff=1, max_backoff=1)
    def fail():
        nonlocal runs
        runs += 1
        raise RuntimeError("failed")

    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    worker.start()
    fail.send()
    broker.join(fail.queue_name, fail_fast=False)
    worker.join()
    worker.stop()
    return runs


for most in (1, 3):
    simple = asyncio.run(runs_of_taskiq(SimpleRetryMiddleware, most))
    smart = asyncio.run(runs_of_taskiq(SmartRetryMiddleware, most))
    print(f"max_retries={most}: taskiq simple {simple}, smart {smart}, dramatiq {runs_of_dramatiq(most)} runs")
PY
timeout 120 py/bin/python see.py 2>see.log | tee seen
diff - seen <<'SEEN'
max_retries=1: taskiq simple 1, smart 1, dramatiq 2 runs
max_retries=3: taskiq simple 3, smart 3, dramatiq 4 runs
SEEN
