"""Waiting for results: which to look up next, how often, and what a result is to the caller. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

from ._steps import Ended
from .errors import NotEnded, NotJson, ResultTimeout, TaskCancelled, TaskFailed

As: TypeAlias = Literal["json", "text", "bytes"]

FIRST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.05
MOST_IDS = 500
"""In one look-up."""
ELSEWHERE_S = 0.25
"""A result that has not come by then is looked for in all partitions, ever less often."""
ELSEWHERE_LONGEST_S = 8.0


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


def delay_ms(delay: float | None, at: float | None) -> float | None:
    """Milliseconds from now; ``None`` for at once. ``delay`` in seconds, ``at`` as of ``time.time()``."""
    seconds = at - time.time() if at is not None else delay
    if seconds is None or seconds <= 0:
        return None
    return seconds * 1_000
