"""Functions that workers run, and what they are told of their task."""

from __future__ import annotations

import datetime
import functools
import inspect
import json
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, ParamSpec, TypeVar, overload

from ._json import to_json
from .errors import RetryAfter

if TYPE_CHECKING:
    from ._spawned import Spawned

P = ParamSpec("P")
R = TypeVar("R")

MAX_PROGRESS_BYTES = 16 * 1024
"""The longest report of progress, as JSON."""


class Call(dict[str, Any]):
    """A task that calls a function by its name: JSON with the fields ``task``, ``args`` and ``kwargs``, and an ``id`` once enqueued."""


class Task(Generic[P, R]):
    """A function with a name, by which workers find it. It can still be called as the function that it is."""

    def __init__(self, function: Callable[P, R], name: str | None = None) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name if name is not None else function.__name__
        self.signature = inspect.signature(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the function here and now, as without the decorator."""
        return self.function(*args, **kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call:
        """The task that calls the function with these arguments, to be enqueued.

        Raises ``TypeError`` when the function does not take them.
        """
        if "context" in self.signature.parameters:
            if "context" in kwargs:
                raise TypeError(f"{self.name} is given its context by the worker that runs it")
            self.signature.bind(*args, **{"context": None, **kwargs})
        else:
            self.signature.bind(*args, **kwargs)
        call = Call(task=self.name)
        if args:
            call["args"] = list(args)
        if kwargs:
            call["kwargs"] = dict(kwargs)
        return call

    def __repr__(self) -> str:
        return f"<millrace task {self.name}>"


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(*, name: str) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    function: Callable[P, R] | None = None, /, *, name: str | None = None
) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Makes a function, sync or async, a task: ``@task``, or ``@task(name="images.resize")``; its own name by default."""
    if function is not None:
        return Task(function)
    return lambda function: Task(function, name)


class Parts(NamedTuple):
    """What the task that follows a batch is told of its parts."""

    batch: str
    """Id of the batch, for `Queue.batch.results`."""
    size: int
    succeeded: int
    failed: int
    cancelled: int
    results: str
    """Name of the hash that has the results."""
    ids: str
    """Name of the list that has the ids of the parts, in the order in which they were added."""
    partitions: int = 1
    """Of the queue: with several, a result is in the hash ``RESULTS:{n}``, n being the CRC-32 of its id modulo their number."""


class Context:
    """What a function is told of its task, if it has a parameter ``context``.

    In a test of the function, ``Context(id="1")`` is one that belongs to no worker.
    """

    __slots__ = (
        "_report",
        "_send_spawned",
        "_spawned",
        "_was_cancelled",
        "attempt",
        "id",
        "queue",
        "raw",
        "traceparent",
        "tracestate",
    )

    def __init__(
        self,
        id: str | bytes,
        raw: bytes = b"",
        attempt: int = 1,
        queue: str = "task_queue",
        traceparent: str | None = None,
        tracestate: str | None = None,
        *,
        report: Callable[[str], None] | None = None,
        send_spawned: Callable[[list[bytes]], None] | None = None,
        was_cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self.id = id
        """The field of the result hash: text, or the whole task where that is bytes that are no text."""
        self.raw = raw
        """The task, byte for byte as it was pushed."""
        self.attempt = attempt
        """1 for the first try."""
        self.queue = queue
        self.traceparent = traceparent
        """W3C Trace Context, if the task belongs to a trace."""
        self.tracestate = tracestate
        self._report = report
        self._send_spawned = send_spawned
        self._spawned: Spawned | None = None
        self._was_cancelled = was_cancelled

    @property
    def parts(self) -> Parts | None:
        """Of the batch that this task follows, as its ``then``."""
        value = _parsed(self.raw)
        told = value.get("parts") if isinstance(value, dict) else None
        if not isinstance(told, dict) or not all(field in told for field in Parts._fields[:-1]):
            return None
        return Parts(**{field: told[field] for field in Parts._fields if field in told})

    @property
    def cancelled(self) -> bool:
        """Whether the result is no longer wanted: the task was cancelled, or the worker must stop or has lost it.

        A function that returns or raises within a second after that keeps its process; later it is interrupted.
        """
        return self._was_cancelled is not None and self._was_cancelled()

    def progress(self, value: object) -> None:
        """Reports the progress of the task: any JSON value of at most 16 KB. The latest one wins; call it as often as you like."""
        json = to_json(value)
        if len(json) > MAX_PROGRESS_BYTES or len(json.encode()) > MAX_PROGRESS_BYTES:
            raise ValueError(
                f"a report of progress has {len(json.encode())} bytes: at most {MAX_PROGRESS_BYTES} are stored"
            )
        if self._report is not None:
            self._report(json)

    def spawn(self, tasks: Iterable[object]) -> list[str | bytes]:
        """Adds tasks to the queue, and to the batch of this task if it is a part of one, in the step that stores its result: an attempt that
        fails adds none. Returns their ids; an object without an ``id`` gets ``ID/0``, ``ID/1``, …, ID being that of this task.

        Raises ``ValueError`` for more than 1,000 tasks or 1 MiB in all, and ``BadBatch`` for what cannot be a part; then none of these is added.
        """
        if self._spawned is None:
            self._spawned = _spawned_by(self)
        added = self._spawned.add(tasks)
        if self._send_spawned is not None:
            self._send_spawned([one.raw for one in added])
        return [one.id for one in added]

    def retry_after(
        self, when: float | datetime.timedelta | datetime.datetime, reason: str = "retry requested"
    ) -> NoReturn:
        """Ends this attempt by raising, and sets when the next one is due: seconds from now, or a time. It counts as an attempt."""
        if isinstance(when, datetime.datetime):
            when = when - datetime.datetime.now(when.tzinfo)
        seconds = when.total_seconds() if isinstance(when, datetime.timedelta) else float(when)
        if not math.isfinite(seconds):
            raise ValueError(
                f"cannot retry a task after {seconds} s: give seconds, a timedelta or a datetime"
            )
        raise RetryAfter(max(0.0, seconds), reason)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _spawned_by(context: Context) -> Spawned:
    # few functions need it, and what it imports takes time
    from ._spawned import Spawned

    return Spawned(context.id, _parsed(context.raw))
