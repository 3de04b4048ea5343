"""The frames between the worker and this process, as `worker/handlers/python-frames.ts` describes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

PROTOCOL = 2

HELLO, RUN, CANCEL, RESULT, ERROR, PROGRESS, SPAWN, RUNS, RESULTS = range(9)

_HEAD = struct.Struct("<IBI")
_RUN = struct.Struct("<IBIII")
_ANSWER = struct.Struct("<IBIB")
_SIZE = struct.Struct("<I")
_RUNS = struct.Struct("<II")
_RESULTS = struct.Struct("<IBII")
_SAME_AS_TASK = 0xFFFFFFFF


class About(NamedTuple):
    """What a function is told of its task."""

    id: str | bytes
    attempt: int
    queue: str
    trace: str


class Run:
    """A task to run. Few functions want to know more than the task, so the rest is read when it is needed."""

    __slots__ = ("_body", "number", "raw")

    def __init__(self, number: int, body: bytes) -> None:
        self.number = number
        self._body = body
        _, _, id_size, queue_size, trace_size = _RUN.unpack_from(body)
        same = id_size == _SAME_AS_TASK
        self.raw = body[_RUN.size + (0 if same else id_size) + queue_size + trace_size :]

    def holds(self, number: int) -> bool:
        """Whether it is that task."""
        return number == self.number

    def describe(self, _number: int) -> tuple[bytes, About]:
        """The task, and the rest of the frame."""
        body = self._body
        attempt, binary, id_size, queue_size, trace_size = _RUN.unpack_from(body)
        queue_at = _RUN.size
        id = self.raw
        if id_size != _SAME_AS_TASK:
            queue_at += id_size
            id = body[_RUN.size : queue_at]
        trace_at = queue_at + queue_size
        trace = body[trace_at : trace_at + trace_size].decode()
        about = About(id if binary else id.decode(), attempt, body[queue_at:trace_at].decode(), trace)
        return self.raw, about


class Runs:
    """Tasks to run that came together: JSON, and numbered in a row."""

    __slots__ = ("_body", "_ids", "_places", "begun", "count", "first")

    def __init__(self, first: int, body: bytes, ids: bool) -> None:
        self.first = first
        self.count: int = _SIZE.unpack_from(body)[0]
        self.begun = 0
        """How many of them have been begun."""
        self._body = body
        self._ids = ids
        self._places: _Places | None = None

    def holds(self, number: int) -> bool:
        """Whether that task is among those that have not been begun."""
        return self.first + self.begun <= number < self.first + self.count

    def values(self, parse: Callable[[bytes], Any]) -> list[Any]:
        """The values of the tasks. ``parse`` is asked for each of them if the array is more than Python reads, by its depth or digits."""
        text = self._body[self._find().array_at :].decode()
        try:
            values: list[Any]
            values, end = _decoder.raw_decode(text)
            if end == len(text) and len(values) == self.count:
                return values
        except (ValueError, RecursionError):
            pass
        return [parse(self._raw(index)) for index in range(self.count)]

    def describe(self, number: int) -> tuple[bytes, About]:
        """A task, and what a function is told of it."""
        index = number - self.first
        queue, ids, _, _ = self._find()
        return self._raw(index), About(ids[index], 1, queue, "")

    def _raw(self, index: int) -> bytes:
        _, _, array_at, ends = self._find()
        # a bracket or a comma is before each
        start = ends[index - 1] + 1 if index > 0 else 1
        return self._body[array_at + start : array_at + ends[index]]

    def _find(self) -> _Places:
        if self._places is None:
            self._places = self._read_places()
        return self._places

    def _read_places(self) -> _Places:
        body = self._body
        count, queue_size = _RUNS.unpack_from(body)
        sizes = struct.unpack_from(f"<{count * (2 if self._ids else 1)}I", body, _RUNS.size)
        at = _RUNS.size + _SIZE.size * len(sizes)
        queue = body[at : at + queue_size].decode()
        at += queue_size
        ids: list[str] = []
        for size in sizes[count:]:
            ids.append(body[at : at + size].decode())
            at += size
        return _Places(queue, ids, at, list(accumulate(1 + size for size in sizes[:count])))


class _Places(NamedTuple):
    """What is where in a frame."""

    queue: str
    ids: list[str]
    array_at: int
    ends: list[int]
    """Of each task in the array."""


_decoder = json.JSONDecoder()


class Cancel(NamedTuple):
    """The result of that task is no longer wanted."""

    number: int


def frame(kind: int, number: int, body: bytes) -> bytes:
    """Any frame but an answer."""
    return _HEAD.pack(5 + len(body), kind, number) + body


def answer(kind: int, number: int, last: bool, body: bytes) -> bytes:
    """A result or an error."""
    return _ANSWER.pack(6 + len(body), kind, number, last) + body


def results(first: int, bodies: Sequence[bytes]) -> bytes:
    """Results of tasks that follow one another in number."""
    count = len(bodies)
    sizes = [len(body) for body in bodies]
    head = _RESULTS.pack(9 + _SIZE.size * count + sum(sizes), RESULTS, first, count)
    return b"".join((head, struct.pack(f"<{count}I", *sizes), *bodies))


def spawn(number: int, tasks: Iterable[bytes]) -> bytes:
    """Tasks that are added with the result of this one."""
    return frame(SPAWN, number, b"".join(_SIZE.pack(len(raw)) + raw for raw in tasks))


class Reader:
    """Cuts what comes over the socket into frames. ``ids``: tasks that come together have theirs."""

    def __init__(self, ids: bool) -> None:
        self._ids = ids
        self._parts: list[bytes] = []
        self._size = 0
        self._wanted = _HEAD.size

    def push(self, chunk: bytes) -> list[Run | Runs | Cancel]:
        """The frames that this chunk completes."""
        if self._parts:
            self._parts.append(chunk)
            self._size += len(chunk)
            if self._size < self._wanted:
                return []
            chunk = b"".join(self._parts)
            self._parts = []
        found: list[Run | Runs | Cancel] = []
        at = 0
        end = len(chunk)
        self._wanted = _HEAD.size
        while end - at >= 9:
            length, kind, number = _HEAD.unpack_from(chunk, at)
            after = at + 4 + length
            if after > end:
                self._wanted = 4 + length
                break
            if kind == RUNS:
                found.append(Runs(number, chunk[at + 9 : after], self._ids))
            elif kind == RUN:
                found.append(Run(number, chunk[at + 9 : after]))
            elif kind == CANCEL:
                found.append(Cancel(number))
            at = after
        if at < end:
            self._parts = [chunk[at:]]
            self._size = end - at
        return found
