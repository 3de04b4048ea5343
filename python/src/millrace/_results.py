"""Waiting for results: which to look up next, how often, and what a result is to the caller. Pure."""

from __future__ import annotations

import datetime
import json
import math
import numbers
import time
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from ._steps import Ended
from .errors import NotEnded, NotJson, ResultTimeout, TaskCancelled, TaskFailed

Timeout: TypeAlias = float | datetime.timedelta | None
As: TypeAlias = Literal["json", "text", "bytes"]

FIRST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.05
MOST_IDS = 500
"""In one look-up."""
ELSEWHERE_S = 0.25
"""A result that has not come by then is looked for in all partitions, ever less often."""
ELSEWHERE_LONGEST_S = 8.0


LONGEST_DELAY_S = 100 * 366 * 86_400


class Outcome(NamedTuple):
    """What has become of a task. ``value`` is ``None`` if there is an ``error``."""

    id: str | bytes
    value: Any
    error: TaskFailed | TaskCancelled | NotJson | NotEnded | None
    """``NotEnded`` occurs only among the results of a batch."""

    def get(self) -> Any:
        """The value. Raises the error, if there is one."""
        if self.error is not None:
            raise self.error
        return self.value


def outcome(id: str | bytes, ended: Ended, as_: As) -> Outcome:
    """A result that is to be JSON and is not is a ``NotJson``."""
    if ended.value is None:
        return Outcome(id, None, ended.error)
    if as_ == "bytes":
        return Outcome(id, ended.value, None)
    if as_ == "text":
        return Outcome(id, ended.value.decode(), None)
    try:
        return Outcome(id, json.loads(ended.value), None)
    except ValueError:
        return Outcome(id, None, NotJson(id))


def check_as(as_: object) -> None:
    """Raises ``ValueError``."""
    if as_ not in get_args(As):
        raise ValueError(f"as_ is one of {', '.join(get_args(As))}: got {as_!r:.100}")


class Waits:
    """The ids that are waited for, and the pace of the look-ups.

    Tasks mostly finish in the order in which they were enqueued. So each look-up asks for the oldest ids, then for some of the others
    in rotation. The pauses grow while nothing is found.
    """

    def __init__(self, ids: Iterable[str | bytes] = (), timeout: float | None = None) -> None:
        self._ids: dict[str | bytes, None] = dict.fromkeys(ids)
        self._rotated: list[str | bytes] = []
        self._pause = FIRST_PAUSE_S
        now = time.monotonic()
        self._timeout = timeout
        self._deadline = None if timeout is None else now + timeout
        self._elsewhere_at = now + ELSEWHERE_S
        self._elsewhere_pause = ELSEWHERE_S

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id: str | bytes) -> None:
        self._ids[id] = None
        self._pause = FIRST_PAUSE_S

    def discard(self, id: str | bytes) -> None:
        self._ids.pop(id, None)

    def next(self) -> list[str | bytes]:
        """The ids to look up now."""
        asked: dict[str | bytes, None] = {}
        for id in self._ids:
            if len(asked) >= MOST_IDS // 2:
                break
            asked[id] = None
        while len(asked) < MOST_IDS and len(asked) < len(self._ids):
            if not self._rotated:
                self._rotated = list(self._ids)[::-1]
            id = self._rotated.pop()
            if id in self._ids:
                asked[id] = None
        return list(asked)

    def everywhere(self) -> bool:
        """Whether the next look-up is to be in all partitions."""
        now = time.monotonic()
        if now < self._elsewhere_at:
            return False
        self._elsewhere_pause = min(2 * self._elsewhere_pause, ELSEWHERE_LONGEST_S)
        self._elsewhere_at = now + self._elsewhere_pause
        return True

    def found(self, ids: Iterable[str | bytes]) -> None:
        for id in ids:
            self._pause = FIRST_PAUSE_S
            self.discard(id)

    def pause(self) -> float:
        """How long to wait until the next look-up, s. Raises ``ResultTimeout`` when the time is over."""
        pause = self._pause
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE_S)
        if self._deadline is None:
            return pause
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise ResultTimeout(next(iter(self._ids)), self._timeout or 0)
        return min(pause, left)


def seconds_of(timeout: Timeout) -> float | None:
    """The seconds of a timeout; ``None`` to wait for as long as it takes. Raises ``TypeError`` or ``ValueError`` for what is no time."""
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else timeout
    if not isinstance(seconds, numbers.Real) or isinstance(seconds, bool):
        raise TypeError(f"timeout is a number of seconds or a timedelta: got {timeout!r:.100}")
    try:
        number = float(seconds)
    except OverflowError:
        number = math.inf if seconds > 0 else -math.inf
    if math.isnan(number):
        raise ValueError("timeout is a number of seconds: got nan; None waits for as long as it takes")
    return None if number == math.inf else number


def due(delay: float | datetime.timedelta | None, at: datetime.datetime | None) -> float | None:
    """When a task is due: milliseconds from now; ``None`` for at once. ``delay`` is in seconds, an ``at`` without a zone in local time.

    Raises ``ValueError`` or ``TypeError`` for what is no time.
    """
    if delay is not None and at is not None:
        raise ValueError("a task has a delay or a time, not both")
    if at is not None:
        if not isinstance(at, datetime.datetime):
            raise TypeError(
                f"at is a datetime: got {at!r:.100}; as a number of seconds from now, it is a delay"
            )
        seconds = at.timestamp() - time.time()
    elif delay is None:
        return None
    elif isinstance(delay, datetime.timedelta):
        seconds = delay.total_seconds()
    elif isinstance(delay, (int, float)) and not isinstance(delay, bool):
        seconds = float(delay)
    else:
        raise TypeError(f"delay is a number of seconds or a timedelta: got {delay!r:.100}")
    if not seconds < LONGEST_DELAY_S:
        raise ValueError(f"a task cannot be delayed by {seconds:g} s: give a time within the next 100 years")
    return None if seconds <= 0 else seconds * 1_000
