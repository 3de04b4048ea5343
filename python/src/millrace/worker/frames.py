"""The frames between the worker and this process, as `worker/handlers/python-frames.ts` describes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

PROTOCOL = 2

HELLO, RUN, CANCEL, RESULT, ERROR, PROGRESS, SPAWN = range(7)

_HEAD = struct.Struct("<IBI")
_RUN = struct.Struct("<IBIII")
_ANSWER = struct.Struct("<IBIB")
_SIZE = struct.Struct("<I")
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

    def about(self) -> About:
        """The rest of the frame."""
        body = self._body
        attempt, binary, id_size, queue_size, trace_size = _RUN.unpack_from(body)
        queue_at = _RUN.size
        id = self.raw
        if id_size != _SAME_AS_TASK:
            queue_at += id_size
            id = body[_RUN.size : queue_at]
        trace_at = queue_at + queue_size
        trace = body[trace_at : trace_at + trace_size].decode()
        return About(id if binary else id.decode(), attempt, body[queue_at:trace_at].decode(), trace)


class Cancel(NamedTuple):
    """The result of that task is no longer wanted."""

    number: int


def frame(kind: int, number: int, body: bytes) -> bytes:
    """Any frame but an answer."""
    return _HEAD.pack(5 + len(body), kind, number) + body


def answer(kind: int, number: int, last: bool, body: bytes) -> bytes:
    """A result or an error."""
    return _ANSWER.pack(6 + len(body), kind, number, last) + body


def spawn(number: int, tasks: Iterable[bytes]) -> bytes:
    """Tasks that are added with the result of this one."""
    return frame(SPAWN, number, b"".join(_SIZE.pack(len(raw)) + raw for raw in tasks))


class Reader:
    """Cuts what comes over the socket into frames."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._wanted = _HEAD.size

    def push(self, chunk: bytes) -> list[Run | Cancel]:
        """The frames that this chunk completes."""
        if self._parts:
            self._parts.append(chunk)
            self._size += len(chunk)
            if self._size < self._wanted:
                return []
            chunk = b"".join(self._parts)
            self._parts = []
        found: list[Run | Cancel] = []
        at = 0
        end = len(chunk)
        self._wanted = _HEAD.size
        while end - at >= 9:
            length, kind, number = _HEAD.unpack_from(chunk, at)
            after = at + 4 + length
            if after > end:
                self._wanted = 4 + length
                break
            if kind == RUN:
                found.append(Run(number, chunk[at + 9 : after]))
            elif kind == CANCEL:
                found.append(Cancel(number))
            at = after
        if at < end:
            self._parts = [chunk[at:]]
            self._size = end - at
        return found
