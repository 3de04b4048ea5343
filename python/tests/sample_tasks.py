"""What the workers of the suite run."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from millrace import Context, FinalError, task


@task
def double(n: int) -> int:
    return 2 * n


@task(name="images.size")
async def size(width: int, height: int = 1) -> dict[str, int]:
    await asyncio.sleep(0)
    return {"pixels": width * height}


@task
def described(context: Context) -> dict[str, object]:
    return {"id": context.id, "attempt": context.attempt, "queue": context.queue, "raw": context.raw.decode()}


@task
def fail() -> None:
    raise ValueError("no such tile")


@task
def refuse() -> None:
    raise FinalError("not in this life")


@task
def second_time(context: Context) -> int:
    if context.attempt == 1:
        context.retry_after(0.001, "busy")
    return context.attempt


@task
def until_cancelled(context: Context) -> None:
    context.progress({"percent": 40})
    while not context.cancelled:
        time.sleep(0.005)


@task
def pid() -> int:
    return os.getpid()


@task
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task
def even(n: int) -> int:
    if n % 2:
        raise FinalError(f"{n} is odd")
    return n


@task
def joined(context: Context) -> dict[str, object] | None:
    return context.parts and context.parts._asdict()


@task
def countdown(n: int, context: Context) -> int:
    """A chain; in a batch, all of it is in the batch."""
    if n > 0:
        context.spawn([countdown.call(n - 1)])
    return n


@task
def spawn_and_fail(context: Context) -> list[object]:
    ids: list[object] = list(context.spawn([{"id": f"{context.id}:{context.attempt}", "task": "pid"}]))
    if context.attempt == 1:
        raise ValueError("not yet")
    return ids
