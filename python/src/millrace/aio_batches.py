"""Batches as a client of asyncio has them: `AsyncQueue.batch`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from . import _batches as steps
from ._batches import Adder, Batch, BatchView, Cancelled, Nested, Tasks, begin
from ._parts import OnFailure
from ._results import FIRST_PAUSE_S, As, Outcome, Timeout, seconds_of
from ._steps import Client, Steps
from .errors import BatchCancelled, BatchTimeout, NoBatch

T = TypeVar("T")

LONGEST_HOLD_S = 0.002
"""How long tasks are encoded until others get the event loop."""


class _Run(Protocol):
    def __call__(self, steps: Steps[T], /) -> Awaitable[T]: ...


class AsyncBatches:
    """As `Batches`, with functions to be awaited. The tasks may come from an async iterator."""

    def __init__(self, client: Client, run: _Run) -> None:
        self._client = client
        self._run = run

    async def __call__(
        self,
        tasks: Tasks,
        *,
        then: Mapping[str, Any] | str | None = None,
        on_failure: OnFailure = "wait",
        id: str | None = None,
    ) -> Batch:
        """See `Batches`. If it is cancelled, so is the batch."""
        return await self._add(begin(self._client, tasks, then, on_failure, id), tasks)

    async def show(self, id: str) -> BatchView | None:
        """See `Batches.show`."""
        return await self._run(steps.show_batch(self._client, id))

    async def list(self, count: int = 100) -> list[BatchView]:
        """See `Batches.list`."""
        return await self._run(steps.list_batches(self._client, count))

    async def wait(self, id: str, timeout: Timeout = None) -> BatchView:
        """See `Batches.wait`."""
        seconds = seconds_of(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        pause = FIRST_PAUSE_S
        while True:
            view = await self.show(id)
            if view is None:
                raise NoBatch(id)
            if view.is_over:
                return view
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise BatchTimeout(id, seconds or 0, steps.describe(view))
            await asyncio.sleep(min(pause, left))
            pause = min(1.5 * pause, steps.LONGEST_PAUSE_S)

    async def cancel(self, id: str) -> Cancelled:
        """See `Batches.cancel`."""
        return await self._run(steps.cancel_batch(self._client, id))

    async def results(self, id: str, *, as_: As = "json") -> AsyncIterator[Outcome]:
        """See `Batches.results`."""
        start = 0
        while page := await self._run(steps.page_of_results(self._client, id, start, as_)):
            for one in page:
                yield one
            start += len(page)
        if start == 0 and await self.show(id) is None:
            raise NoBatch(id)

    async def _nest(self, adder: Adder, task: Nested[Any]) -> None:
        inner = await self._run(adder.nest(task))
        try:
            await self._add(inner, task.tasks)
        except BatchCancelled as error:
            # a part that has failed or was cancelled, for which the outer one has a rule
            if error.id != inner.id:
                raise
            await self._run(adder.check_open())

    async def _add(self, adder: Adder, tasks: Tasks) -> Batch:
        try:
            async for task in each(tasks):
                if isinstance(task, Nested):
                    await self._nest(adder, task)
                elif adder.put(task):
                    await self._run(adder.flush())
            return await self._run(adder.end())
        except BaseException:
            try:
                await self._run(adder.abandon())
            except Exception:
                pass  # the first error is the one that counts
            raise


async def each(tasks: Iterable[object] | AsyncIterable[object]) -> AsyncIterator[object]:
    """The tasks of either kind. Others get the event loop every few milliseconds, however many tasks there are at once."""
    if isinstance(tasks, AsyncIterable):
        async for task in tasks:
            yield task
        return
    since = time.monotonic()
    for task in tasks:
        yield task
        if time.monotonic() - since > LONGEST_HOLD_S:
            await asyncio.sleep(0)
            since = time.monotonic()
