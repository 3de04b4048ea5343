"""What a process sends to the worker: answers may wait for others, so that many cost one system call and one wake of the worker."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Sequence

from . import frames

_TOGETHER_BYTES = 1 << 16
_TOGETHER = 50
"""Answers that are sent together, at most, so that the worker has others ready meanwhile."""
_WAITS_S = 0.005
"""How long an answer waits at most for the function after it."""


class Outbox:
    """What is sent to the worker. Answers may wait for others; all goes out in order."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._parts: list[bytes | tuple[int, bytes]] = []
        """Frames, and results by number. Appending needs no lock, as what is taken out is only what was there."""
        self._size = 0
        self._sender: int | None = None
        """The thread that is sending, by `threading.get_ident`."""
        self.is_late = False
        """The flusher is going to send what waits."""
        self._waits = threading.Event()
        self._flusher: threading.Thread | None = None

    def is_sending_here(self) -> bool:
        """Whether this thread is sending, so that a frame may be halfway out: its signal handler asks. The frames of other threads go on."""
        return self._sender == threading.get_ident()

    def add(self, frame: bytes) -> None:
        """Keeps it for the next `send`, unless there is much already."""
        self._parts.append(frame)
        self._size += len(frame)
        if self._size >= _TOGETHER_BYTES or len(self._parts) >= _TOGETHER:
            self.send_answers()

    def add_result(self, number: int, body: bytes) -> None:
        """The same for a result that may share a frame with others."""
        parts = self._parts
        parts.append((number, body))
        self._size += len(body)
        if self._size >= _TOGETHER_BYTES or len(parts) >= _TOGETHER:
            self.send_answers()

    def send_answers(self, frame: bytes = b"") -> None:
        """As `send`, after what functions have printed, which is in the log before their answers."""
        if self._parts or frame:
            _flush()
            self.send(frame)

    def send_late(self) -> None:
        """Sends what waits in some milliseconds, whatever the main thread does."""
        if self.is_late:
            return
        self.is_late = True
        self._waits.set()
        if self._flusher is None:
            # not before it is needed: a process with threads should not be forked
            self._flusher = threading.Thread(target=self._flush_late, daemon=True)
            self._flusher.start()

    def send(self, frame: bytes = b"") -> None:
        """Sends it now, and what waits before it."""
        with self._lock:
            if frame:
                self._parts.append(frame)
            count = len(self._parts)
            if not count:
                return
            self._sender = threading.get_ident()
            try:
                parts = self._parts[:count]
                del self._parts[:count]
                self._size = 0
                self._channel.sendall(_joined(parts))
            finally:
                self._sender = None

    def end(self) -> None:
        """Sends what waits, and what another thread has begun to send."""
        _flush()
        self.send()

    def _flush_late(self) -> None:
        while True:
            self._waits.wait()
            time.sleep(_WAITS_S)
            self._waits.clear()
            self.is_late = False
            self.send()


def _joined(parts: list[bytes | tuple[int, bytes]]) -> bytes:
    """Results that follow one another in number share a frame, which is not much longer than the last of them."""
    return _as_results(parts) or _as_frames(parts)


def _as_results(parts: Sequence[bytes | tuple[int, bytes]]) -> bytes | None:
    """One frame for all, if they are such results, as nearly always."""
    found = [part for part in parts if not isinstance(part, bytes)]
    count = len(found)
    if count < len(parts) or count < 2:
        return None
    numbers, bodies = zip(*found, strict=True)
    first = numbers[0]
    if numbers != tuple(range(first, first + count)) or sum(map(len, bodies)) > _TOGETHER_BYTES:
        return None
    return frames.results(first, bodies)


def _as_frames(parts: Sequence[bytes | tuple[int, bytes]]) -> bytes:
    out: list[bytes] = []
    first = size = 0
    bodies: list[bytes] = []

    def close() -> None:
        if len(bodies) == 1:
            out.append(frames.answer(frames.RESULT, first, False, bodies[0]))
        elif bodies:
            out.append(frames.results(first, bodies))
        bodies.clear()

    for part in parts:
        if isinstance(part, bytes):
            close()
            out.append(part)
            continue
        number, body = part
        if number != first + len(bodies) or size >= _TOGETHER_BYTES:
            close()
        if not bodies:
            first, size = number, 0
        bodies.append(body)
        size += len(body)
    close()
    return b"".join(out)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass  # a function has closed or replaced it
