"""Runs tasks: one at a time, or several that the worker has sent (``--python-processes``).

The main thread reads the socket while there is no task, and every few milliseconds between functions. While one runs, nobody does until
somebody wants to know whether it was cancelled: ``context.cancelled``, or the event loop while async functions run. So a task costs no
switch between threads.

A function that is not async runs outside of the event loop, which stands still meanwhile. Answers of tasks that follow one another quickly
are sent together; a thread sends what has waited for some milliseconds because the next function takes its time.

SIGTERM comes from the worker when a task that it has cancelled goes on: it raises ``Interrupted`` in the function, and ends the process.
Wherever that could tear a frame apart, it waits until the frame is out.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import Interrupted, MillraceError, short
from ..tasks import Context
from . import frames
from .answers import encoded, error_body, refuse_arguments
from .begun import MASK, Begun
from .limits import Limits
from .outbox import Outbox
from .target import Target, parse

if TYPE_CHECKING:
    import asyncio

_CHUNK = 1 << 18
_READS_EVERY_S = 0.005
"""How long functions run one after another before the socket is read."""


_PLAIN = frozenset({type(None), bool, bytes, dict, float, int, list, str})
"""Of results that are not awaited: to find that out of the attribute that they lack would take longer."""


class _Async(NamedTuple):
    """An async function that runs."""

    task: asyncio.Task[None]
    awaitable: Awaitable[object]


class Runner:
    """One process's side of the socket."""

    def __init__(self, channel: socket.socket, target: Target, limits: Limits, begun: Begun) -> None:
        self._channel = channel
        self._outbox = Outbox(channel)
        self._target = target
        self._begun = begun.slots
        self._limits = limits
        self._max_result = limits.max_result
        self._reader = frames.Reader(target.takes_context)
        self._reading = threading.Lock()
        self._reads_at = 0.0
        """When to look whether something has come, by `time.monotonic`."""
        self._runs: deque[frames.Run | frames.Runs] = deque()
        """Not begun yet."""
        self._beginning: frames.Runs | None = None
        """Of which some have not been begun yet."""
        self._together = False
        """The worker reads results that share a frame: it has sent tasks that do."""
        self._running: dict[int, _Async | None] = {}
        """The tasks that run by their numbers."""
        self._cancelled: set[int] = set()
        """Of those that run or wait."""
        self._in_function = False
        """A function that is not async runs: it may be interrupted."""
        self._blocked = False
        """The main thread waits for the socket."""
        self._interrupted = False
        self._ended = False
        """The worker has closed the socket."""
        self._spent = False
        """No more tasks come: a limit is reached. The worker closes the socket."""
        self._served = 0
        self._limited = limits.max_tasks is not None or limits.max_memory is not None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived: asyncio.Future[None] | None = None
        """What the event loop runs for."""
        self._forked = False
        """This is a process that a function has forked: it ends with the function, and answers nothing."""

    def run(self) -> None:
        """Runs tasks until the worker closes the socket, or the process is interrupted."""
        signal.signal(signal.SIGTERM, self._on_terminate)
        os.register_at_fork(after_in_child=self._in_child)
        try:
            while not self._interrupted:
                # those that come meanwhile wait until async functions have gone on
                for _ in range(len(self._runs)):
                    self._begin(self._runs.popleft())
                if self._running:
                    self._await()
                elif not self._runs:
                    if self._ended:
                        return
                    self._wait()
        finally:
            if not self._forked:
                self._outbox.end()
                self._close_loop()

    def _wait(self) -> None:
        """Blocks until something comes."""
        self._outbox.send_answers()
        # a thread that a function has left running may read, too
        with self._reading:
            self._blocked = True
            try:
                if not (self._runs or self._ended or self._interrupted):
                    self._take(self._channel.recv(_CHUNK))
            finally:
                self._blocked = False

    def _poll(self) -> None:
        """Reads what has come, if anything has. Threads of a function may ask at the same time."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            self._take(self._channel.recv(_CHUNK, socket.MSG_DONTWAIT))
        except BlockingIOError:
            pass
        finally:
            self._reading.release()
        if self._runs and self._loop is not None and not _is_main():
            # which would wait for the socket
            self._loop.call_soon_threadsafe(self._on_readable)

    def _poll_if_due(self) -> None:
        now = monotonic()
        if now >= self._reads_at:
            self._reads_at = now + _READS_EVERY_S
            self._poll()

    def _take(self, chunk: bytes) -> None:
        if not chunk:
            self._ended = True
            return
        for found in self._reader.push(chunk):
            if not isinstance(found, frames.Cancel):
                self._runs.append(found)
            elif found.number in self._running or self._is_waiting(found.number):
                self._cancelled.add(found.number)
                if self._loop is None or _is_main():
                    self._cancel(found.number)
                else:
                    self._loop.call_soon_threadsafe(self._cancel, found.number)

    def _cancel(self, number: int) -> None:
        """Ends it if it is async and runs."""
        running = self._running.get(number)
        if running is None:
            return
        task, awaitable = running

        def answer(_: asyncio.Task[None]) -> None:
            if self._running.get(number) is not running:
                return
            # `_settle` did not even begin
            if isinstance(awaitable, Coroutine):
                awaitable.close()
            self._fail(number, Interrupted())
            self._leave_loop_if_idle()

        task.add_done_callback(answer)
        task.cancel()

    def _is_waiting(self, number: int) -> bool:
        beginning = self._beginning
        if beginning is not None and beginning.holds(number):
            return True
        return any(run.holds(number) for run in self._runs)

    def _begin(self, found: frames.Run | frames.Runs) -> None:
        if isinstance(found, frames.Run):
            self._poll_if_due()
            try:
                value = parse(found.raw)
            except MemoryError as error:
                self._running[found.number] = None
                self._fail(found.number, error)
            else:
                self._start(found.number, value, found)
            return
        self._together = True
        self._beginning = found
        number = found.first
        for value in found.values(parse):
            if monotonic() >= self._reads_at:
                self._poll_if_due()
            found.begun += 1
            if found.begun == found.count:
                self._beginning = None
            self._start(number, value, found)
            number += 1

    def _start(self, number: int, value: object, source: frames.Run | frames.Runs) -> None:
        """Runs a function, or makes the event loop run it if it is async."""
        self._running[number] = None
        try:
            if number in self._cancelled:
                raise Interrupted
            self._in_function = True
            # from here on, the handler of the signal ends the function
            if self._interrupted:
                self._in_function = False
                return
            work = self._target.find(value)
            (call, _, takes_context, is_async, _), args, kwargs = work
            if not is_async:
                self._begun[number & MASK] = number
            result: Any
            try:
                if takes_context:
                    result = call(*args, **kwargs, context=self._context_of(number, source))
                else:
                    result = call(*args, **kwargs)
            except TypeError:
                refuse_arguments(work)
                raise
            self._in_function = False
            # as inspect.isawaitable, which takes longer than many a function
            if type(result) in _PLAIN or not hasattr(result, "__await__"):
                self._answer(number, frames.RESULT, encoded(result, self._max_result), False)
                return
        except BaseException as error:
            self._in_function = False
            self._fail(number, error)
            return
        loop = self._loop or self._open_loop()
        self._running[number] = _Async(loop.create_task(self._settle(number, result)), result)

    async def _settle(self, number: int, awaitable: Awaitable[object]) -> None:
        """Answers when an async function has ended; a cancellation reaches it as `asyncio.CancelledError`."""
        self._begun[number & MASK] = number
        try:
            body = encoded(await awaitable, self._max_result)
        except BaseException as error:
            self._fail(number, error)
        else:
            self._answer(number, frames.RESULT, body, False)
        self._leave_loop_if_idle()

    def _fail(self, number: int, error: BaseException) -> None:
        if self._forked:
            raise error
        # memory that could not be had, and what wanted to end the process, are no state to go on from
        last = isinstance(error, (SystemExit, KeyboardInterrupt, MemoryError))
        self._answer(number, frames.ERROR, error_body(error), last)

    def _answer(self, number: int, kind: int, body: bytes, last: bool) -> None:
        if self._forked:
            sys.exit()
        self._served += 1
        if last or self._interrupted or (self._limited and self._limits.are_reached(self._served)):
            self._spent = True
        outbox = self._outbox
        if self._together and kind == frames.RESULT and not self._spent:
            outbox.add_result(number, body)
        else:
            outbox.add(frames.answer(kind, number, self._spent, body))
        if self._arrived is not None and self._loop is not None:
            # with those of all that end in this round of the event loop
            self._loop.call_soon(outbox.send_answers)
        elif self._beginning is not None or self._runs:
            if not outbox.is_late:
                outbox.send_late()
        else:
            outbox.send_answers()
        del self._running[number]
        if self._cancelled:
            self._cancelled.discard(number)

    def _context_of(self, number: int, source: frames.Run | frames.Runs) -> Context:
        raw, (id, attempt, queue, trace) = source.describe(number)
        traceparent, _, tracestate = trace.partition("\n")

        def was_cancelled() -> bool:
            if number in self._running and number not in self._cancelled:
                self._poll()
            # a thread may go on when its async function has been cancelled and has ended
            return number in self._cancelled or number not in self._running

        def report(json: str) -> None:
            # what a function has left running may go on to report
            if number in self._running:
                self._outbox.send(frames.frame(frames.PROGRESS, number, json.encode()))
                self._interrupt_if_due()

        def send_spawned(tasks: list[bytes]) -> None:
            if number not in self._running:
                raise MillraceError(
                    f"task {short(id)} has ended: it can add tasks only while its function runs"
                )
            self._outbox.add(frames.spawn(number, tasks))
            self._interrupt_if_due()

        return Context(
            id,
            raw,
            attempt,
            queue,
            traceparent or None,
            tracestate or None,
            report=report,
            send_spawned=send_spawned,
            was_cancelled=was_cancelled,
        )

    def _open_loop(self) -> asyncio.AbstractEventLoop:
        # it takes as long to import as all else
        import asyncio

        loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.add_reader(self._channel, self._on_readable)
        return loop

    def _await(self) -> None:
        """Runs the event loop until there is something to begin, or nothing runs."""
        loop = self._loop
        if loop is None:
            return
        self._outbox.send_answers()
        try:
            self._arrived = loop.create_future()
            if self._runs or self._interrupted:
                loop.call_soon(self._leave_loop)
            loop.run_until_complete(self._arrived)
        except Interrupted:
            pass  # it has ended a callback of the loop, or its wait
        finally:
            self._arrived = None

    def _leave_loop_if_idle(self) -> None:
        if not self._running:
            self._leave_loop()

    def _leave_loop(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _on_readable(self) -> None:
        self._poll()
        if self._ended and self._loop is not None:
            self._loop.remove_reader(self._channel)
        if self._runs:
            self._leave_loop()

    def _close_loop(self) -> None:
        loop = self._loop
        if loop is None or loop.is_running():
            return
        loop.remove_reader(self._channel)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _on_terminate(self, _signal: int, _frame: object) -> None:
        if self._interrupted:
            return
        self._interrupted = True
        if self._blocked:
            raise SystemExit(0)
        if self._arrived is not None and self._loop is not None:
            # what is raised in an async function ends that alone
            self._loop.call_soon_threadsafe(self._leave_loop)
        self._interrupt_if_due()

    def _interrupt_if_due(self) -> None:
        """Ends the function, unless a frame is halfway out."""
        if not self._interrupted or not _is_main() or self._outbox.is_sending_here():
            return
        if self._in_function or self._arrived is not None:
            raise Interrupted

    def _in_child(self) -> None:
        """In a process that a function has forked: nothing of this is its business."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._running.clear()
        self._forked = True


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
