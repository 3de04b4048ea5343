"""Batches as a client that waits has them: `Queue.batch`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from . import _batches as steps
from ._batches import Adder, Batch, BatchView, Cancelled, Nested, begin
from ._parts import OnFailure
from ._results import FIRST_PAUSE_S, As, Outcome, Timeout, seconds_of
from ._steps import Client, Steps
from .errors import BatchCancelled, BatchTimeout, NoBatch

T = TypeVar("T")


class _Run(Protocol):
    def __call__(self, steps: Steps[T], /) -> T: ...


class Batches:
    """Work that is split into tasks, its parts, and joined: when all have ended, one more task is pushed, once."""

    def __init__(self, client: Client, run: _Run) -> None:
        self._client = client
        self._run = run

    def __call__(
        self,
        tasks: Iterable[object],
        *,
        then: Mapping[str, Any] | str | None = None,
        on_failure: OnFailure = "wait",
        id: str | None = None,
    ) -> Batch:
        """Adds tasks as the parts of a batch, and returns when all have been added; of a generator of a million it holds a thousand at a time.

        A part is a JSON object, such as ``area.call(1, 2)``, or the text of one, or `nested`. It gets the field ``batch``, and the id
        ``BATCH:n`` if it has none, n being its number from 0. Of several with one id, one is added.

        ``then``: the task that is pushed when all parts have ended, a JSON object or a text. An object is told in its field ``parts`` where the
        results are, and gets the id ``BATCH:then`` if it has none. ``on_failure``: when a part has failed for good, ``wait`` until its dead
        letter is requeued, or dropped; ``cancel`` the parts that have not ended, and make a dead letter of ``then``; or ``continue``.
        ``id``: of the batch; at most 200 bytes. Random by default.

        Raises ``BadBatch`` for what cannot be a batch, ``BatchExists``, and ``BatchCancelled`` when the batch failed or was cancelled
        before its last parts were sent. If ``tasks`` raises, the batch is cancelled.
        """
        return self._add(begin(self._client, tasks, then, on_failure, id), tasks)

    def show(self, id: str) -> BatchView | None:
        """How far it is; ``None`` if there is none of that id, or it ended more than a week ago."""
        return self._run(steps.show_batch(self._client, id))

    def list(self, count: int = 100) -> list[BatchView]:
        """Those that are open first, then those that ended within the last week."""
        return self._run(steps.list_batches(self._client, count))

    def wait(self, id: str, timeout: Timeout = None) -> BatchView:
        """Waits until all parts have ended, or the rest was cancelled. For the result of ``then``, wait with `Queue.result` instead.

        Raises ``BatchTimeout`` after ``timeout``, in seconds or a timedelta, and ``NoBatch``.
        """
        seconds = seconds_of(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        pause = FIRST_PAUSE_S
        while True:
            view = self.show(id)
            if view is None:
                raise NoBatch(id)
            if view.is_over:
                return view
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise BatchTimeout(id, seconds or 0, steps.describe(view))
            time.sleep(min(pause, left))
            pause = min(1.5 * pause, steps.LONGEST_PAUSE_S)

    def cancel(self, id: str) -> Cancelled:
        """Cancels the parts that have not ended, as `Queue.cancel` does; ``then`` counts as cancelled, too."""
        return self._run(steps.cancel_batch(self._client, id))

    def results(self, id: str, *, as_: As = "json") -> Iterator[Outcome]:
        """The outcomes of its parts, in the order in which they were added, read a page at a time.

        One that has not ended has the error ``NotEnded``. Raises ``NoBatch``.
        """
        start = 0
        while page := self._run(steps.page_of_results(self._client, id, start, as_)):
            yield from page
            start += len(page)
        if start == 0 and self.show(id) is None:
            raise NoBatch(id)

    def _nest(self, adder: Adder, task: Nested[Any]) -> None:
        inner = self._run(adder.nest(task))
        try:
            self._add(inner, task.tasks)
        except BatchCancelled as error:
            # a part that has failed or was cancelled, for which the outer one has a rule
            if error.id != inner.id:
                raise
            self._run(adder.check_open())

    def _add(self, adder: Adder, tasks: Iterable[object]) -> Batch:
        try:
            for task in tasks:
                if isinstance(task, Nested):
                    self._nest(adder, task)
                elif adder.put(task):
                    self._run(adder.flush())
            return self._run(adder.end())
        except BaseException:
            try:
                self._run(adder.abandon())
            except Exception:
                pass  # the first error is the one that counts
            raise
