"""What the worker sends, as a process reads it, and what it answers; the worker's side is in test/unit/python-frames.test.ts."""

from __future__ import annotations

import socket
import struct

import pytest

from millrace.worker import frames
from millrace.worker.outbox import Outbox, _joined
from millrace.worker.target import parse


def runs(tasks: list[bytes], ids: list[str]) -> frames.Runs:
    names = [id.encode() for id in ids]
    sizes = [len(part) for part in (*tasks, *names)]
    head = struct.pack(f"<{2 + len(sizes)}I", len(tasks), 4, *sizes)
    return frames.Runs(7, head + b"mail" + b"".join(names) + b"[" + b",".join(tasks) + b"]", ids=len(ids) > 0)


def test_tasks_that_come_together_are_parsed_together() -> None:
    found = runs([b'{"n": 1}', b" [2]\n", '"ü"'.encode()], [])
    assert found.values(parse) == [{"n": 1}, [2], "ü"]


@pytest.mark.parametrize("odd", [b"[" * 100_000 + b"]" * 100_000, b"[" + b"1" * 5_000 + b"]"])
def test_one_that_python_does_not_read_is_text_and_the_others_are_not(odd: bytes) -> None:
    assert runs([b"[1]", odd, b"[2]"], []).values(parse) == [[1], parse(odd), [2]]


def test_each_is_told_of_itself() -> None:
    found = runs([b'{"n":1}', b"[2]"], ["a", "ü"])
    assert found.describe(7) == (b'{"n":1}', frames.About("a", 1, "mail", ""))
    assert found.describe(8) == (b"[2]", frames.About("ü", 1, "mail", ""))


def test_those_that_have_not_begun_can_be_cancelled() -> None:
    found = runs([b"[1]", b"[2]"], [])
    found.begun = 1
    assert [found.holds(number) for number in (6, 7, 8, 9)] == [False, False, True, False]


def test_results_in_a_row_share_a_frame() -> None:
    here, there = socket.socketpair()
    outbox = Outbox(here)
    error = frames.answer(frames.ERROR, 3, False, b"{}")
    for number, body in ((1, b"a"), (2, b"")):
        outbox.add_result(number, body)
    outbox.add(error)
    for number in (4, 9, 10):
        outbox.add_result(number, b"x")
    outbox.send()
    sent = there.recv(1_000)
    assert sent == b"".join(
        [
            frames.results(1, [b"a", b""]),
            error,
            frames.answer(frames.RESULT, 4, False, b"x"),
            frames.results(9, [b"x", b"x"]),
        ]
    )
    here.close()
    there.close()


def test_large_results_do_not_share_a_frame() -> None:
    large = b"x" * 40_000
    expected = frames.results(1, [large, large]) + frames.answer(frames.RESULT, 3, False, large)
    assert _joined([(1, large), (2, large), (3, large)]) == expected
