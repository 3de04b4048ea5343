"""What a process sends to the worker: answers may wait for others, so that many cost one system call and one wake of the worker."""

from __future__ import annotations

import socket
import sys
import threading
import time

_TOGETHER_BYTES = 1 << 16
_TOGETHER = 32
"""Answers that are sent together, at most, so that the worker has others ready meanwhile."""
_WAITS_S = 0.005
"""How long an answer waits at most for the function after it."""


class Outbox:
    """What is sent to the worker. Answers may wait for others; all goes out in order."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._parts: list[bytes] = []
        self._size = 0
        self._waits = threading.Event()
        self._flusher: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """A frame may be halfway out."""
        return self._lock.locked()

    def add(self, frame: bytes) -> None:
        """Keeps it for the next `send`, unless there is much already."""
        with self._lock:
            self._parts.append(frame)
            self._size += len(frame)
            is_full = self._size >= _TOGETHER_BYTES or len(self._parts) >= _TOGETHER
        if is_full:
            self.send_answers()

    def send_answers(self, frame: bytes = b"") -> None:
        """As `send`, after what functions have printed, which is in the log before their answers."""
        if self._parts or frame:
            _flush()
            self.send(frame)

    def send_late(self) -> None:
        """Sends what waits in some milliseconds, whatever the main thread does."""
        if self._waits.is_set():
            return
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
            if self._parts:
                parts, self._parts, self._size = self._parts, [], 0
                self._channel.sendall(b"".join(parts))

    def _flush_late(self) -> None:
        while True:
            self._waits.wait()
            time.sleep(_WAITS_S)
            self._waits.clear()
            self.send()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass  # a function has closed or replaced it
