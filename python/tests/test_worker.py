"""Tasks in Python, enqueued by the package and run by a real worker."""

from __future__ import annotations

import os

import pytest
import sample_tasks
from conftest import PATIENCE_S, StartWorker, eventually

from millrace import Queue, TaskCancelled, TaskFailed


def test_functions_by_name_sync_and_async(worked: Queue) -> None:
    ids = worked.enqueue_many(
        [
            sample_tasks.double.call(21),
            sample_tasks.size.call(3, height=4),
            {"id": "plain", "task": "double", "args": [4]},
            {**sample_tasks.double.call(5), "customer": "acme", "millrace": {"expiresAt": 9e12}},
        ]
    )
    assert [worked.result(id, PATIENCE_S) for id in ids] == [42, {"pixels": 12}, 8, 10]


def test_a_function_that_asks_is_told_of_its_task(worked: Queue) -> None:
    worked.enqueue('{"id":"told","task":"described"}')
    assert worked.result("told", PATIENCE_S) == {
        "id": "told",
        "attempt": 1,
        "queue": "worked",
        "raw": '{"id":"told","task":"described"}',
    }


def test_an_exception_fails_the_attempt_and_says_where(worked: Queue) -> None:
    with pytest.raises(TaskFailed) as found:
        worked.result(worked.enqueue(sample_tasks.fail.call()), PATIENCE_S)
    assert found.value.attempts == 2
    assert "ValueError: no such tile (sample_tasks.py, line " in found.value.error
    assert "in fail)" in found.value.error


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (sample_tasks.refuse.call(), "FinalError: not in this life"),
        ({"task": "nix"}, "task 'nix' is not among them"),
        ({"n": 1}, "this one names none"),
        (
            {"task": "double", "args": [1, 2]},
            "double does not take these arguments: too many positional arguments",
        ),
        ({"task": "double", "args": 1}, '"args" is a list'),
        (
            {"task": "second_time", "kwargs": {"context": {}}},
            "second_time does not take these arguments: the worker gives it its context",
        ),
    ],
)
def test_what_can_never_succeed_is_not_retried(worked: Queue, task: dict[str, object], error: str) -> None:
    with pytest.raises(TaskFailed) as found:
        worked.result(worked.enqueue(task), PATIENCE_S)
    assert found.value.attempts == 1
    assert error in found.value.error


def test_a_function_sets_when_it_is_retried(worked: Queue) -> None:
    assert worked.result(worked.enqueue(sample_tasks.second_time.call()), PATIENCE_S) == 2


def test_progress_and_cancellation(worked: Queue) -> None:
    id = worked.enqueue(sample_tasks.until_cancelled.call())
    eventually(lambda: worked.progress(id) == {"percent": 40})
    assert worked.cancel(id) is True
    with pytest.raises(TaskCancelled):
        worked.result(id, PATIENCE_S)


def test_processes_are_kept_and_replaced_when_spent(url: str, start_worker: StartWorker) -> None:
    flags = ["--queue", "spent", "--result", "spent:result", "--python", "sample_tasks:pid"]
    worker = start_worker(*flags, "--python-max-tasks", "2")
    with Queue(url, queue="spent", result="spent:result") as queue:
        pids = [queue.result(queue.enqueue(sample_tasks.pid.call()), PATIENCE_S) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    worker.terminate()
    assert worker.wait(PATIENCE_S) == 0
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_process_that_dies_costs_only_what_it_has_begun_an_attempt(
    url: str, start_worker: StartWorker
) -> None:
    with Queue(url, queue="mortal", result="mortal:result") as queue:
        deadly, *others = queue.enqueue_many(
            [sample_tasks.die.call(), *(sample_tasks.double.call(n) for n in range(99))]
        )
        flags = ["--queue", "mortal", "--result", "mortal:result", "--python", "sample_tasks"]
        start_worker(*flags, "--concurrency", "100", "--python-processes", "1", "--attempts", "1")
        assert [queue.result(id, PATIENCE_S) for id in others] == [2 * n for n in range(99)]
        with pytest.raises(TaskFailed, match="killed by SIGKILL"):
            queue.result(deadly, PATIENCE_S)
