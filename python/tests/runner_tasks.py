"""What `test_runner.py` runs in a process without a worker."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from millrace import Context, task


@task
def large() -> str:
    return "x" * 60_000


@task
def stubborn() -> None:
    """As code that catches all that it knows."""
    print("stubborn")
    while True:
        try:
            time.sleep(600)
        except Exception:
            pass


@task(name="stubborn-async")
async def stubborn_async() -> None:
    stubborn()


@task
def gate(path: str) -> str:
    """Asks nobody whether it was cancelled."""
    print("waiting")
    time.sleep(0.02)
    while not Path(path).exists():
        time.sleep(0.005)
    return "open"


@task
def polite(context: Context) -> None:
    print("working")
    while not context.cancelled:
        time.sleep(0.005)


@task
async def say(text: str) -> str:
    print(text)
    return text


@task
async def nap() -> None:
    await asyncio.sleep(600)


@task
async def in_thread(context: Context) -> None:
    def spin() -> None:
        print("spinning")
        while not context.cancelled:
            time.sleep(0)
        print("stopped")

    await asyncio.to_thread(spin)
