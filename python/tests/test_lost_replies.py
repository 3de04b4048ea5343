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
from redis.backoff import NoBackoff
from redis.retry import Retry

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


@contextmanager
def cutting(port: int, number: int) -> Iterator[tuple[int, threading.Event]]:
    """A port where, in place of what comes from the server as the ``number``-th, its connection is cut; and whether it has come."""
    came = 0
    cut = threading.Event()

    def forward(source: socket.socket, target: socket.socket, is_reply: bool) -> None:
        nonlocal came
        try:
            while data := source.recv(65_536):
                came += is_reply
                if is_reply and came == number:
                    cut.set()
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            for args in ((near, far, False), (far, near, True)):
                threading.Thread(target=forward, args=args, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=[listener], daemon=True).start()
        yield listener.getsockname()[1], cut
        listener.shutdown(socket.SHUT_RDWR)


def _begin(queue: Queue) -> None:
    queue.batch([{"id": "p1"}, {"id": "p2"}], id="b", then={"id": "after"})


def _open_high(queue: Queue) -> None:
    queue._redis.hset(f"millrace:{{{queue._client.parts[0].keys.queue}}}:priorities", "high", "open")


_many = [{"id": f"m{i}"} for i in range(1_500)]


@pytest.mark.parametrize(
    ("before", "send", "partitions"),
    [
        (None, lambda queue: queue.enqueue({"id": "a"}), 1),
        (None, lambda queue: queue.enqueue({"id": "a"}, delay=60), 1),
        (_open_high, lambda queue: queue.enqueue({"id": "a"}, priority="high"), 1),
        (None, lambda queue: queue.enqueue_many(_many), 1),
        (None, lambda queue: queue.enqueue_many(_many), 3),
        (None, lambda queue: queue.batch(_many, id="b", then={"id": "after"}), 1),
        (None, lambda queue: queue.batch(_many, id="b", then={"id": "after"}), 3),
        (None, lambda queue: queue.cancel("a"), 1),
        (_begin, lambda queue: queue.batch.cancel("b"), 1),
        (_begin, lambda queue: queue.batch.cancel("b"), 3),
    ],
    ids=[
        "enqueue",
        "enqueue-later",
        "enqueue-high",
        "enqueue_many",
        "enqueue_many-in-partitions",
        "batch",
        "batch-in-partitions",
        "cancel",
        "batch.cancel",
        "batch.cancel-in-partitions",
    ],
)
def test_each_reply_is_lost_in_turn(
    port: int,
    plain: redis.Redis,
    name: str,
    before: Callable[[Queue], None] | None,
    send: Callable[[Queue], object],
    partitions: int,
) -> None:
    def run(number: int) -> tuple[object, object, bool]:
        result = f"{name}:result"
        for key in plain.scan_iter(f"*{name}*"):
            plain.delete(key)
        if before is not None:
            with Queue(plain, name, result, partitions=partitions) as queue:
                before(queue)
        with (
            cutting(port, number) as (away, cut),
            redis.Redis(port=away, retry=Retry(NoBackoff(), 3)) as client,
            Queue(client, name, result, partitions=partitions) as lossy,
        ):
            answer = send(lossy)
            lossy.close()
            return answer, _held(plain, name), not cut.is_set()

    answer, held, _ = run(-1)
    number, is_over = 0, False
    while not is_over:
        number += 1
        *found, is_over = run(number)
        assert found == [answer, held], f"reply {number}"
    assert number > 2


_VARYING = {b"created", b"at", b"adder", b"marks"}


def _held(plain: redis.Redis, name: str) -> dict[bytes, object]:
    """What Redis has for the queue, but for times: the values of reports are some, too."""
    found: dict[bytes, object] = {}
    for key in plain.scan_iter(f"*{name}*"):
        match plain.type(key):
            case b"list":
                found[key] = plain.lrange(key, 0, -1)
            case b"hash" if key.endswith(b":batch-reports"):
                found[key] = set(plain.hkeys(key))
            case b"hash":
                found[key] = {
                    field: value for field, value in plain.hgetall(key).items() if field not in _VARYING
                }
            case b"set":
                found[key] = plain.smembers(key)
            case _:
                found[key] = sorted(member.split(b"|")[-1] for member in plain.zrange(key, 0, -1))
    return found
