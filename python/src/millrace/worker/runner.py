"""Runs one task after another.

The main thread reads the socket while there is no task. While one runs, nobody does until somebody wants to know whether it was
cancelled: ``context.cancelled``, or the event loop of an async function. So a task costs no switch between threads.

SIGTERM comes from the worker when a task that it has cancelled goes on: it raises ``Interrupted`` in the function. Wherever that could
tear a frame apart, it waits until the frame is out.
"""

from __future__ import annotations

import inspect
import os
import resource
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .._json import to_json
from ..errors import FinalError, Interrupted
from ..tasks import Context
from . import frames
from .describe import describe, format_traceback
from .target import Target, Work, parse

if TYPE_CHECKING:
    import asyncio

_CHUNK = 1 << 18


class Limits(NamedTuple):
    """When the process is replaced, and how large a result may be."""

    max_tasks: int | None
    max_memory: int | None
    max_result: int


class ResultError(FinalError):
    """The task ran, but its result cannot be stored."""


class Runner:
    """One process's side of the socket."""

    def __init__(self, channel: socket.socket, target: Target, limits: Limits) -> None:
        self._channel = channel
        self._target = target
        self._limits = limits
        self._reader = frames.Reader()
        self._runs: deque[frames.Run] = deque()
        self._sending = threading.Lock()
        self._polling = threading.Lock()
        self._number = 0
        """Of the task that runs; 0 while none does."""
        self._cancelled = 0
        """Of the last task that was cancelled."""
        self._waits = False
        self._interrupted = False
        self._ended = False
        """The worker has closed the socket."""
        self._served = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._async_task: asyncio.Task[Any] | None = None

    def run(self) -> None:
        """Runs tasks until the worker closes the socket, or a limit is reached."""
        signal.signal(signal.SIGTERM, self._on_terminate)
        os.register_at_fork(after_in_child=self._in_child)
        try:
            while not self._interrupted:
                while not self._runs:
                    if self._ended:
                        return
                    self._wait()
                if self._perform(self._runs.popleft()):
                    return
        finally:
            self._close_loop()

    def _wait(self) -> None:
        """Blocks until something comes."""
        self._waits = True
        try:
            self._take(self._channel.recv(_CHUNK))
        finally:
            self._waits = False

    def _poll(self) -> None:
        """Reads what has come, if anything has. Threads of a function may ask at the same time."""
        with self._polling:
            try:
                self._take(self._channel.recv(_CHUNK, socket.MSG_DONTWAIT))
            except BlockingIOError:
                pass

    def _take(self, chunk: bytes) -> None:
        if not chunk:
            self._ended = True
            return
        for found in self._reader.push(chunk):
            if isinstance(found, frames.Run):
                self._runs.append(found)
            else:
                self._cancelled = found.number

    def _perform(self, run: frames.Run) -> bool:
        """Runs a task and answers. Returns whether the process is to end."""
        number = self._number = run.number
        last = False
        try:
            body = self._encode(self._call(run))
            kind = frames.RESULT
        except BaseException as error:
            kind = frames.ERROR
            body = _error_body(error)
            # memory that could not be had, and what wanted to end the process, are no state to go on from
            last = isinstance(error, (Interrupted, SystemExit, KeyboardInterrupt, MemoryError))
        self._number = 0
        self._served += 1
        last = last or self._interrupted or self._is_spent()
        _flush()
        self._send(frames.answer(kind, number, last, body))
        return last

    def _call(self, run: frames.Run) -> object:
        work = self._target.find(parse(run.raw))
        function = work.function
        try:
            if function.takes_context:
                result = function.call(*work.args, **work.kwargs, context=self._context_of(run))
            else:
                result = function.call(*work.args, **work.kwargs)
        except TypeError:
            _refuse_arguments(work)
            raise
        return self._settle(result) if inspect.isawaitable(result) else result

    def _context_of(self, run: frames.Run) -> Context:
        number = run.number
        traceparent, _, tracestate = run.trace.partition("\n")

        def was_cancelled() -> bool:
            if self._number == number and self._cancelled != number:
                self._poll()
            return self._cancelled == number

        def report(json: str) -> None:
            # what a function has left running may go on to report
            if self._number == number:
                self._send(frames.frame(frames.PROGRESS, number, json.encode()))

        return Context(
            run.id,
            run.raw,
            run.attempt,
            run.queue,
            traceparent or None,
            tracestate or None,
            report=report,
            was_cancelled=was_cancelled,
        )

    def _settle(self, awaitable: Awaitable[object]) -> object:
        """Runs the event loop until an async function has ended; a cancellation reaches it as `asyncio.CancelledError`."""
        loop = self._loop or self._open_loop()

        async def awaited() -> object:
            return await awaitable

        self._async_task = loop.create_task(awaited())
        try:
            return loop.run_until_complete(self._async_task)
        finally:
            self._async_task = None

    def _open_loop(self) -> asyncio.AbstractEventLoop:
        # it takes as long to import as all else
        import asyncio

        loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.add_reader(self._channel, self._on_readable)
        return loop

    def _on_readable(self) -> None:
        self._poll()
        if self._ended and self._loop is not None:
            self._loop.remove_reader(self._channel)
        if self._cancelled == self._number and self._async_task is not None:
            self._async_task.cancel()

    def _close_loop(self) -> None:
        loop = self._loop
        if loop is None or loop.is_running():
            return
        loop.remove_reader(self._channel)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _encode(self, value: object) -> bytes:
        body = _encoded(value)
        if len(body) > self._limits.max_result:
            raise ResultError(
                f"the result is too large: it has {len(body)} bytes, and at most {self._limits.max_result} are allowed here; "
                "store it elsewhere and return a reference"
            )
        return body

    def _is_spent(self) -> bool:
        max_tasks, max_memory, _ = self._limits
        if max_tasks is not None and self._served >= max_tasks:
            return True
        return max_memory is not None and _peak_memory() > max_memory

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._channel.sendall(frame)
        if self._interrupted and self._number != 0 and threading.current_thread() is threading.main_thread():
            raise Interrupted

    def _on_terminate(self, _signal: int, _frame: object) -> None:
        if self._interrupted:
            return
        self._interrupted = True
        if self._waits:
            raise SystemExit(0)
        if self._number != 0 and not self._sending.locked():
            raise Interrupted

    def _in_child(self) -> None:
        """In a process that a function has forked: nothing of this is its business."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._number = 0


def _refuse_arguments(work: Work) -> None:
    """A call that the function's parameters do not allow fails for good: it always will."""
    more = {"context": None} if work.function.takes_context else {}
    try:
        work.function.signature.bind(*work.args, **work.kwargs, **more)
    except TypeError as mismatch:
        raise FinalError(
            f"{work.function.name or work.function.call} does not take these arguments: {mismatch}"
        ) from None


def _encoded(value: object) -> bytes:
    """A result as it is stored: text and bytes as they are, anything else as JSON."""
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise ResultError(
                f"the result cannot be stored: it is a text that is not Unicode ({error.reason})"
            ) from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return to_json(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultError(f"the result cannot be stored as JSON: {error}") from error


def _error_body(error: BaseException) -> bytes:
    name, message = describe(error)
    found: dict[str, object] = {"name": name, "error": message}
    if not isinstance(error, FinalError):
        found["traceback"] = format_traceback(error)
    if getattr(error, "retry", None) is False:
        found["retry"] = False
    seconds = getattr(error, "retry_after", None)
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds >= 0:
        found["retryAfter"] = seconds * 1_000
        found.pop("traceback", None)
    return to_json(found).encode(errors="replace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass  # a function has closed or replaced it


def _peak_memory() -> int:
    """The most memory that this process has used, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def fail_to_load(channel: socket.socket, error: BaseException, message: str, traceback: str) -> NoReturn:
    """Reports why the target cannot be loaded, and ends the process."""
    body = to_json({"name": type(error).__name__, "error": message, "traceback": traceback}).encode(
        errors="replace"
    )
    channel.sendall(frames.answer(frames.ERROR, 0, True, body))
    sys.exit(1)
