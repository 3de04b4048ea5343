"""The process that runs tasks, told by this suite what a worker tells it. What it does with a real worker is in test_worker.py."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from conftest import HERE, PATIENCE_S, ROOT

from millrace.worker import frames

_WITH_CHANNEL = "import os, runpy, sys; os.dup2(int(sys.argv.pop(1)), 3); runpy.run_module('millrace.worker', run_name='__main__')"


class Process:
    """A process, and the worker's end of its socket."""

    def __init__(self, program: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.program = program
        self._channel = channel
        self._received = b""
        self.next(frames.HELLO)

    def run(self, first: int, *tasks: tuple[str, object]) -> None:
        """Tasks that begin together, each a function and its argument."""
        raws = [
            json.dumps({"task": name, "args": [] if arg is None else [arg]}).encode() for name, arg in tasks
        ]
        ids = [str(first + n).encode() for n in range(len(tasks))]
        sizes = [len(part) for part in (*raws, *ids)]
        body = struct.pack(f"<{2 + len(sizes)}I", len(raws), 4, *sizes)
        body += b"mail" + b"".join(ids) + b"[" + b",".join(raws) + b"]"
        self._channel.sendall(frames.frame(frames.RUNS, first, body))

    def cancel(self, number: int) -> None:
        self._channel.sendall(frames.frame(frames.CANCEL, number, b"not wanted"))

    def printed(self, line: str) -> None:
        """Waits until a function has printed it."""
        out = self.program.stdout
        assert out is not None
        assert _line_of(out) == line

    def sends(self) -> None:
        """Waits until it has begun to send."""
        assert self._channel.recv(1, socket.MSG_PEEK)

    def next(self, kind: int) -> tuple[int, bytes]:
        """The number and the body of the next frame, which is of that kind."""
        size = struct.unpack("<I", self._read(4))[0]
        found, number = struct.unpack("<BI", self._read(5))
        body = self._read(size - 5)
        assert found == kind, body
        return number, body

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            chunk = self._channel.recv(1 << 16)
            assert chunk
            self._received += chunk
        taken, self._received = self._received[:size], self._received[size:]
        return taken


def _line_of(stream: IO[bytes]) -> str:
    return stream.readline().decode().strip()


@contextmanager
def _started(send_buffer: int | None) -> Iterator[Process]:
    here, there = socket.socketpair()
    here.settimeout(PATIENCE_S)
    if send_buffer is not None:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    own = str(there.fileno())
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'python' / 'src'}:{HERE}"}
    args = [sys.executable, "-c", _WITH_CHANNEL, own, "runner_tasks"]
    with (
        here,
        subprocess.Popen(args, env=env, pass_fds=(there.fileno(),), stdout=subprocess.PIPE) as program,
    ):
        there.close()
        # so that no wait for its output is for ever
        limit = threading.Timer(PATIENCE_S, program.kill)
        limit.start()
        try:
            yield Process(program, here)
        finally:
            limit.cancel()
            program.kill()


@pytest.fixture
def process() -> Iterator[Process]:
    with _started(None) as process:
        yield process


def test_an_async_function_that_is_cancelled_before_its_first_step_is_answered_and_not_run(
    process: Process,
) -> None:
    process.run(1, ("say", "not this"), ("polite", None))
    process.printed("working")
    process.cancel(1)
    process.cancel(2)
    assert process.next(frames.RESULT)[0] == 2
    assert process.next(frames.ERROR)[0] == 1
    process.run(3, ("say", "this"))
    process.printed("this")
    assert process.next(frames.RESULT) == (3, b"\x00this")


def test_a_task_that_is_cancelled_while_others_run_before_it_is_not_run(
    process: Process, tmp_path: Path
) -> None:
    process.run(1, ("gate", str(tmp_path / "open")), ("say", "not this"), ("say", "this"))
    process.printed("waiting")
    process.cancel(2)
    (tmp_path / "open").touch()
    process.printed("this")


def test_async_functions_go_on_while_others_keep_coming(process: Process, tmp_path: Path) -> None:
    first, second, third = (str(tmp_path / name) for name in "abc")
    process.run(1, ("say", "async"), ("gate", first), ("gate", second))
    process.printed("waiting")
    process.run(4, ("gate", third))
    for opened in (first, second):
        Path(opened).touch()
    for line in ("waiting", "async", "waiting"):
        process.printed(line)


def test_what_a_thread_of_a_function_reads_reaches_the_others(process: Process) -> None:
    process.run(1, ("in_thread", None), ("nap", None))
    process.printed("spinning")
    process.cancel(2)
    assert process.next(frames.ERROR)[0] == 2
    process.run(3, ("say", "this"))
    process.printed("this")
    assert process.next(frames.RESULT)[0] == 3
    process.cancel(1)
    assert process.next(frames.ERROR)[0] == 1
    process.printed("stopped")


@pytest.mark.parametrize("name", ["stubborn", "stubborn-async"])
def test_sigterm_interrupts_a_function_and_ends_the_process(process: Process, name: str) -> None:
    process.run(1, (name, None))
    process.printed("stubborn")
    process.program.send_signal(signal.SIGTERM)
    number, error = process.next(frames.ERROR)
    assert (number, json.loads(error[1:])["name"]) == (1, "Interrupted")
    assert process.program.wait(PATIENCE_S) == 0


def test_sigterm_interrupts_a_function_while_an_answer_is_being_sent() -> None:
    with _started(4_096) as process:
        process.run(1, ("large", None), ("stubborn", None))
        process.printed("stubborn")
        process.sends()
        process.program.send_signal(signal.SIGTERM)
        # what was begun is sent to its end
        number, result = process.next(frames.RESULT)
        assert (number, len(result)) == (1, 60_001)
        number, error = process.next(frames.ERROR)
        assert (number, json.loads(error[1:])["name"]) == (2, "Interrupted")
        assert process.program.wait(PATIENCE_S) == 0
