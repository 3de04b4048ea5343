"""Requests that Redis has executed, and whose reply is lost: redis-py sends them again, and the answer is that of the first."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis
import redis.asyncio
import sample_tasks
from conftest import StartWorker, eventually

from millrace import AsyncQueue, Queue


@contextmanager
def losing(port: int, about: bytes, meanwhile: Callable[[], None]) -> Iterator[int]:
    """A port where the reply to the first request with this text is lost with its connection, after ``meanwhile``."""
    lost = threading.Event()

    def serve(near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            while request := near.recv(65_536):
                far.sendall(request)
                reply = far.recv(65_536)
                if about in request and b"NOSCRIPT" not in reply and not lost.is_set():
                    lost.set()
                    meanwhile()
                    return
                near.sendall(reply)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[near], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=[listener], daemon=True).start()
        yield listener.getsockname()[1]
        assert lost.is_set()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def started(name: str, start_worker: StartWorker) -> str:
    """A queue with a worker."""
    start_worker("--queue", name, "--result", f"{name}:result", "--python", "sample_tasks")
    return name


def _answers(plain: redis.Redis, name: str) -> list[bytes]:
    return list(plain.keys(f"millrace:{{{name}}}:answers:*"))


def test_a_task_that_a_worker_has_settled_as_cancelled_by_then(
    port: int, started: str, queue: Queue, plain: redis.Redis
) -> None:
    id = queue.enqueue(sample_tasks.until_cancelled.call())
    eventually(lambda: queue.progress(id) is not None)

    def settled() -> None:
        eventually(lambda: plain.hexists(f"millrace:{{{started}}}:errors", str(id)))

    with (
        losing(port, b"604800000", settled) as away,
        redis.Redis(port=away, socket_timeout=None) as client,
        Queue(client, queue=started, result=f"{started}:result") as lossy,
    ):
        assert lossy.cancel(id) is True
        assert lossy.cancel(id) is False
        assert len(_answers(plain, started)) == 1
    assert _answers(plain, started) == []


def test_a_batch_that_is_over_by_then_with_asyncio(
    port: int, started: str, queue: Queue, plain: redis.Redis
) -> None:
    batch = queue.batch([sample_tasks.until_cancelled.call() for _ in range(3)])

    def over() -> None:
        def is_over() -> bool:
            view = queue.batch.show(batch.id)
            return view is not None and view.state == "cancelled"

        eventually(is_over)

    async def main(away: int) -> None:
        async with (
            redis.asyncio.Redis(port=away, socket_timeout=None) as client,
            AsyncQueue(client, started, f"{started}:result") as lossy,
        ):
            assert await lossy.batch.cancel(batch.id) == "cancelled"
            assert await lossy.batch.cancel(batch.id) == "over"
            assert len(_answers(plain, started)) == 1

    with losing(port, b"it was cancelled", over) as away:
        asyncio.run(main(away))
    assert _answers(plain, started) == []
