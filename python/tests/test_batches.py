"""Queue.batch and AsyncQueue.batch against a real Redis, and a real worker where tasks are run."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
import redis
import sample_tasks
from conftest import PATIENCE_S, eventually
from redis.cluster import RedisCluster

from millrace import (
    AsyncQueue,
    BadBatch,
    BadTaskOptions,
    BatchCancelled,
    BatchExists,
    BatchTimeout,
    NoBatch,
    NotEnded,
    Queue,
    TaskCancelled,
    TaskFailed,
    WrongKeyType,
    nested,
)
from millrace._batches import Adder
from millrace._steps import Client, Commands


def parts_of(plain: redis.Redis, name: str) -> list[Any]:
    return [json.loads(raw) for raw in reversed(plain.lrange(name, 0, -1))]


def test_what_something_else_wrote_hides_no_batches(queue: Queue, name: str, plain: redis.Redis) -> None:
    for id in ("good", "odd", "text"):
        queue.batch([{"n": 1}], id=id, then={"k": 1})
    own = f"millrace:{{{name}}}"
    odd_counts = {"size": "nan", "done": "-1", "created": "1e300", "partitions": "x"}
    plain.hset(f"{own}:batch:odd", mapping=odd_counts)
    plain.delete(f"{own}:batch:text")
    plain.set(f"{own}:batch:text", "x")
    assert [(one.id, one.size) for one in queue.batch.list()] == [("good", 1), ("odd", 0)]
    odd = queue.batch.show("odd")
    assert odd is not None
    assert (odd.state, odd.succeeded, odd.left, odd.created_at) == ("running", 0, 0, 0)
    assert [part.id for part in queue.batch.results("odd")] == ["odd:0"]
    for names in (
        lambda: queue.batch.show("text"),
        lambda: queue.batch.cancel("text"),
        lambda: list(queue.batch.results("text")),
    ):
        with pytest.raises(WrongKeyType, match=f'the key "{own}:batch:text" is not a hash') as wrong:
            names()
        assert wrong.value.key == f"{own}:batch:text"
    plain.set(f"{own}:batch-failed:good", "x")
    with pytest.raises(WrongKeyType, match=f'the key "{own}:batch-failed:good" is not a set'):
        queue.batch.show("good")


def test_progress_that_is_no_json_is_none(queue: Queue, name: str, plain: redis.Redis) -> None:
    own = f"millrace:{{{name}}}"
    plain.hset(f"{own}:load", mapping={"w1": 1, "w2": 1, "w3": 1})
    plain.hset(f"{own}:progress:w1", mapping={"a": "{", "b": b"\xff"})
    plain.hset(f"{own}:progress:w2", "a", "7")
    assert (queue.progress("a"), queue.progress("b")) == (7, None)


def test_parts_are_run_and_joined(worked: Queue) -> None:
    batch = worked.batch((sample_tasks.double.call(n) for n in range(2_500)), then=sample_tasks.joined.call())
    assert (batch.size, batch.then) == (2_500, f"{batch.id}:then")
    assert worked.result(f"{batch.id}:then", PATIENCE_S) == {
        "batch": batch.id,
        "size": 2_500,
        "succeeded": 2_500,
        "failed": 0,
        "cancelled": 0,
        "results": "worked:result",
        "ids": f"millrace:{{worked}}:batch-ids:{batch.id}",
        "partitions": 1,
    }
    assert [part.get() for part in worked.batch.results(batch.id)] == [2 * n for n in range(2_500)]
    view = worked.batch.wait(batch.id, PATIENCE_S)
    assert (view.state, view.succeeded, view.left, view.then) == ("ended", 2_500, 0, batch.then)
    assert view.ended_at is not None
    assert view.ended_at >= view.created_at > 1.7e9
    assert batch.id in [one.id for one in worked.batch.list()]


def test_failed_parts_are_among_the_results(worked: Queue) -> None:
    batch = worked.batch(
        (sample_tasks.even.call(n) for n in range(3)), then=sample_tasks.joined.call(), on_failure="continue"
    )
    joined = worked.result(f"{batch.id}:then", PATIENCE_S)
    assert (joined["succeeded"], joined["failed"]) == (2, 1)
    first, second, third = worked.batch.results(batch.id)
    assert (first.get(), third.get()) == (0, 2)
    with pytest.raises(TaskFailed, match="1 is odd"):
        second.get()


def test_with_cancel_a_failure_ends_the_batch(worked: Queue) -> None:
    batch = worked.batch([sample_tasks.even.call(1)], then="join", on_failure="cancel")
    with pytest.raises(TaskFailed, match=r'^task join failed for good: batch ".*" failed.*1 is odd'):
        worked.result("join", PATIENCE_S)
    view = worked.batch.wait(batch.id, PATIENCE_S)
    assert view.state == "failed"
    assert "1 is odd" in str(view.why)


def test_with_wait_a_failed_part_is_waited_for(worked: Queue) -> None:
    batch = worked.batch([sample_tasks.even.call(1)])
    assert batch.then is None
    with pytest.raises(TaskFailed):
        worked.result(f"{batch.id}:0", PATIENCE_S)
    with pytest.raises(
        BatchTimeout, match=r"1 of 1 parts are left, of which 1 failed and wait to be requeued"
    ):
        worked.batch.wait(batch.id, 0.05)
    assert worked.batch.cancel(batch.id) == "cancelled"


def test_batches_in_batches(worked: Queue) -> None:
    inner = nested((sample_tasks.double.call(n) for n in range(3)), then=sample_tasks.joined.call())
    outer = worked.batch([sample_tasks.double.call(7), inner], then=sample_tasks.joined.call())
    assert worked.result(str(outer.then), PATIENCE_S)["size"] == 2
    first, second = worked.batch.results(outer.id)
    assert first.get() == 14
    assert (second.id, second.get()["batch"]) == (f"{outer.id}:1:then", f"{outer.id}:1")


def test_what_is_written(queue: Queue, name: str, plain: redis.Redis) -> None:
    tasks = [
        {"n": 1},
        {"id": "own", "n": 2},
        {"id": 12},
        '{"big": 12345678901234567890, "x": 1.0}\n',
        b"{}",
        {"file": "caf\udce9"},
        {"id": "own", "n": 3},
    ]
    batch = queue.batch(tasks, id="b", then='{"big": 12345678901234567890}')
    assert (batch.size, batch.then) == (6, "b:then")
    assert list(reversed(plain.lrange(name, 0, -1))) == [
        b'{"n":1,"id":"b:0","batch":{"id":"b"}}',
        b'{"id":"own","n":2,"batch":{"id":"b"}}',
        b'{"id":12,"batch":{"id":"b"}}',
        b'{"big": 12345678901234567890, "x": 1.0,"id":"b:3","batch":{"id":"b"}}',
        b'{"id":"b:4","batch":{"id":"b"}}',
        b'{"file":"caf\\udce9","id":"b:5","batch":{"id":"b"}}',
    ]
    assert (
        plain.hget(f"millrace:{{{name}}}:batch:b", "then") == b'{"id":"b:then","big": 12345678901234567890}'
    )
    view = queue.batch.show("b")
    assert view is not None
    assert (view.state, view.size, view.left, view.is_over) == ("running", 6, 6, False)
    waiting = list(queue.batch.results("b"))
    assert [part.id for part in waiting] == ["b:0", "own", "12", "b:3", "b:4", "b:5"]
    with pytest.raises(NotEnded, match="part b:0 has not ended"):
        waiting[0].get()


def test_a_cancelled_batch(queue: Queue) -> None:
    batch = queue.batch([{"n": 1}], then={"kind": "join"})
    assert queue.batch.cancel(batch.id) == "cancelled"
    view = queue.batch.show(batch.id)
    assert view is not None
    assert (view.state, view.why) == ("cancelling", "it was cancelled")
    assert queue.batch.cancel("nix") == "unknown"
    assert queue.batch.show("nix") is None
    for read in (lambda: queue.batch.wait("nix"), lambda: list(queue.batch.results("nix"))):
        with pytest.raises(NoBatch, match="no batch nix: it never began, or ended more than a week ago"):
            read()


@pytest.mark.parametrize(
    ("tasks", "options", "error"),
    [
        ([], {}, 'batch "b" has no parts: it needs one at least'),
        (["text"], {}, r'a part of batch "b" is a JSON object, which can carry the batch\'s id: got "text"'),
        ([[1]], {}, r"can carry the batch's id: got \[1\]"),
        ([b"\xff"], {}, "got bytes that are no text"),
        ([{"batch": {"id": "x"}}], {}, r'has a field "batch" already \({"id":"x"}\)'),
        ([{"id": "x" * 1_025}], {}, r"part of batch .* is too long: 1025 bytes, and at most 1024"),
        ([{}], {"id": ""}, "the id of a batch is empty"),
        ([{}], {"id": 7}, "the id of a batch is a text: got 7"),
        ([{}], {"id": "é" * 101}, "the id of a batch is too long: 202 bytes, and at most 200"),
        ([{}], {"then": ""}, '"then" of batch "b" is an empty text'),
        ([{}], {"then": 7}, '"then" of batch "b" is a task, a JSON object or a text: got 7'),
        ([{}], {"then": sample_tasks.joined}, "got <millrace task joined>"),
        ([{}], {"then": '{"a":'}, '"then" of batch "b" begins like a JSON object and does not parse'),
        ([{}], {"then": {"parts": 1}}, '"then" of batch "b" has a field "parts"'),
        ([{}], {"then": {"x": "y" * (1 << 20)}}, '"then" of batch "b" is too large'),
        (
            [{}],
            {"then": {"batch": {"id": "x", "size": 0}}},
            'the size of batch "x" is the number of its parts',
        ),
        ([{}], {"on_failure": "stop"}, 'on_failure of batch "b" is one of wait, cancel, continue: got'),
        ([nested([{}], then=None)], {}, 'batch "b:0" inside of batch "b" has no "then"'),
        ([nested([{}], then="text")], {}, 'a part of batch "b" is a JSON object'),
        ([nested([], then={})], {}, 'batch "b:0" has no parts'),
    ],
)
def test_a_batch_that_cannot_be_is_refused_where_it_begins(
    queue: Queue, name: str, plain: redis.Redis, tasks: list[object], options: dict[str, Any], error: str
) -> None:
    with pytest.raises(BadBatch, match=error):
        queue.batch(tasks, **{"id": "b", **options})
    assert plain.llen(name) == 0


def test_ids_are_taken_for_a_week(queue: Queue, name: str, plain: redis.Redis) -> None:
    queue.batch([{"n": 1}], id="b")
    with pytest.raises(BatchExists, match='a batch "b" exists already, or ended within the last week'):
        queue.batch([{"n": 2}], id="b")
    view = queue.batch.show("b")
    assert view is not None
    assert view.state == "running"
    assert plain.llen(name) == 1


def test_tasks_that_raise_halfway_cancel_what_was_added(queue: Queue) -> None:
    def tasks() -> Iterator[object]:
        yield from ({"n": n} for n in range(1_500))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.batch(tasks(), id="b")
    view = queue.batch.show("b")
    assert view is not None
    assert (view.state, view.size, view.why) == (
        "cancelling",
        1_000,
        "its client failed to add all of its parts",
    )


def test_a_batch_that_ends_while_it_is_added_to(queue: Queue) -> None:
    def tasks() -> Iterator[object]:
        yield from ({"n": n} for n in range(1_000))
        assert queue.batch.cancel("b") == "cancelled"
        yield {}

    with pytest.raises(BatchCancelled, match=r"the rest was not pushed: it was cancelled"):
        queue.batch(tasks(), id="b", then="join")


def test_a_chunk_that_is_sent_again_is_added_once(
    queue: Queue, name: str, plain: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = queue._make

    def twice(step: Any) -> Any:
        make(step)
        return make(step)

    monkeypatch.setattr(queue, "_make", twice)
    batch = queue.batch({"n": n} for n in range(2_001))
    assert batch.size == plain.llen(name) == 2_001


def test_a_batch_of_a_queue_in_partitions(url: str, name: str, plain: redis.Redis) -> None:
    with Queue(url, queue=name, result=f"{name}:result", partitions=3) as queue:
        inner = nested([{"n": 0}], then={"k": "inner"})
        batch = queue.batch([*({"n": n} for n in range(2_500)), inner], then={"k": "sum"}, id="b")
        assert batch == ("b", 2_501, "b:then")
        lists = [f"{name}:{{{n}}}" for n in range(3)]
        waiting = [plain.llen(one) for one in lists]
        assert sum(waiting) == 2_501
        assert min(waiting) > 500
        with pytest.raises(BatchExists):
            queue.batch([{}], id="b")
        unique = {"millrace": {"unique": "k"}}
        with pytest.raises(BadTaskOptions, match='part u:1 of batch "u" is unique'):
            queue.batch([{}, unique], id="u")
        with pytest.raises(BadTaskOptions, match='"then" of batch "u2" is unique'):
            queue.batch([{}], then=unique, id="u2")
        with pytest.raises(BadTaskOptions, match="task t is unique"):
            queue.enqueue({"id": "t", **unique})
        with pytest.raises(BadTaskOptions, match="task t is unique"):
            queue.enqueue_many([{"id": "t", **unique}], delay=60)
        view = queue.batch.show("b")
        assert view is not None
        assert (view.state, view.size, view.left) == ("running", 2_501, 2_501)
        assert {one.id for one in queue.batch.list()} == {"b", "b:2500"}
        for n in range(2_499):
            id = f"b:{n}"
            plain.hset(f"{name}:result:{{{zlib.crc32(id.encode()) % 3}}}", id, str(n))
        # as of a task that another one has added: not where its id belongs
        elsewhere = (zlib.crc32(b"b:2499") + 1) % 3
        plain.hset(f"{name}:result:{{{elsewhere}}}", "b:2499", "2499")
        outcomes = list(queue.batch.results("b"))
        assert [one.value for one in outcomes] == [*range(2_500), None]
        assert (outcomes[-1].id, type(outcomes[-1].error)) == ("b:2500:then", NotEnded)
        assert queue.batch.cancel("b") == "cancelled"
        view = queue.batch.show("b")
        assert view is not None
        assert view.state == "cancelling"
        assert queue.batch.show("other") is None
        assert queue.batch.cancel("other") == "unknown"


@pytest.mark.parametrize(("opened", "partitions"), [("{0}", 1), ("", 2)])
def test_a_client_that_does_not_know_all_partitions_of_a_batch(
    url: str, name: str, plain: redis.Redis, opened: str, partitions: int
) -> None:
    with Queue(url, queue=name, result=f"{name}:result", partitions=3) as queue:
        # counted as a whole in partition 0
        id = next(id for id in map(str, range(100)) if zlib.crc32(f"{id}:then".encode()) % 3 == 0)
        queue.batch(({"n": n} for n in range(30)), id=id)
    one = f":{opened}" if opened else ""
    with Queue(url, queue=name + one, result=f"{name}:result{one}", partitions=partitions) as queue:
        for read in (queue.batch.show, queue.batch.wait, lambda _: queue.batch.list()):
            with pytest.raises(ValueError, match=rf'of batch "{id}" is not among the {partitions} that'):
                read(id)
        with pytest.raises(ValueError, match=f"is in 3 partitions, and this client knows {partitions}: open"):
            list(queue.batch.results(id))


def test_many_parts_need_no_memory(queue: Queue) -> None:
    pad = "x" * 100
    queue.batch({"n": n, "pad": pad} for n in range(2_000))
    tracemalloc.start()
    try:
        queue.batch({"n": n, "pad": pad} for n in range(20_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 20,000 tasks are 3 MB
    assert peak < 1_500_000


def test_in_a_cluster_with_results_in_another_slot(cluster_port: int) -> None:
    with (
        RedisCluster(host="127.0.0.1", port=cluster_port) as own,
        Queue(own, queue="q", result="r:elsewhere") as queue,
    ):
        own.hset("r:elsewhere", "b:0", "old")
        batch = queue.batch([{"n": 1}, {"n": 2}], id="b", then={"kind": "join"})
        own.hset("r:elsewhere", "b:1", "2")
        first, second = queue.batch.results(batch.id)
        assert isinstance(first.error, NotEnded)
        assert second.get() == 2
        assert [view.id for view in queue.batch.list()] == ["b"]
        assert queue.batch.cancel("b") == "cancelled"


def test_asyncio_does_the_same(url: str, worked: Queue) -> None:
    async def tasks() -> AsyncIterator[object]:
        for n in range(1_500):
            await asyncio.sleep(0)
            yield sample_tasks.double.call(n)

    async def steps() -> None:
        async with AsyncQueue(url, queue="worked", result="worked:result") as queue:
            inner = nested([sample_tasks.double.call(1)], then=sample_tasks.joined.call())
            both = await queue.batch([inner], then=sample_tasks.joined.call())
            batch = await queue.batch(tasks(), then=sample_tasks.joined.call())
            assert (await queue.result(str(both.then), PATIENCE_S))["size"] == 1
            assert (await queue.result(str(batch.then), PATIENCE_S))["succeeded"] == 1_500
            assert [part.get() async for part in queue.batch.results(batch.id)] == [
                2 * n for n in range(1_500)
            ]
            assert (await queue.batch.wait(batch.id, PATIENCE_S)).state == "ended"
            assert batch.id in [view.id for view in await queue.batch.list()]
            with pytest.raises(NoBatch):
                await queue.batch.wait("nix")
            with pytest.raises(NoBatch):
                [part async for part in queue.batch.results("nix")]
            with pytest.raises(BatchExists):
                await queue.batch([{}], id=batch.id)

    asyncio.run(steps())


def test_asyncio_a_call_that_is_cancelled_cancels_the_batch(url: str, name: str) -> None:
    async def steps() -> None:
        added = asyncio.Event()

        async def tasks() -> AsyncIterator[object]:
            for n in range(1_000):
                yield {"n": n}
            added.set()
            await asyncio.Event().wait()

        async with AsyncQueue(url, queue=name, result=f"{name}:result") as queue:
            adding = asyncio.create_task(queue.batch(tasks(), id="b"))
            await added.wait()
            adding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await adding
            view = await queue.batch.show("b")
            assert view is not None
            assert view.state == "cancelling"
            with pytest.raises(BatchTimeout, match="it is cancelling, and 1000 of 1000 parts are left"):
                await queue.batch.wait("b", 0.01)

    asyncio.run(steps())


def test_asyncio_many_tasks_leave_the_event_loop_to_others(url: str, name: str) -> None:
    async def steps() -> None:
        turns = 0
        seen = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        def tasks() -> Iterator[object]:
            nonlocal seen
            for n in range(10):
                time.sleep(0.003)
                yield {"n": n}
            # nothing has been sent yet
            seen = turns

        async with AsyncQueue(url, queue=name, result=f"{name}:result") as queue:
            beside = asyncio.create_task(other())
            for add in (queue.batch, queue.enqueue_many):
                turns = 0
                await add(tasks())
                assert seen >= 9
            beside.cancel()

    asyncio.run(steps())


def test_a_task_in_a_batch_that_was_cancelled_is_not_run(worked: Queue) -> None:
    batch = worked.batch(
        [sample_tasks.until_cancelled.call(), {"task": "double", "args": [1]}], then="joined"
    )
    eventually(lambda: worked.progress(f"{batch.id}:0") is not None)
    worked.batch.cancel(batch.id)
    assert worked.batch.wait(batch.id, PATIENCE_S).state == "cancelled"
    with pytest.raises(TaskCancelled):
        worked.result("joined", PATIENCE_S)
    [first, _] = worked.batch.results(batch.id)
    assert isinstance(first.error, TaskCancelled)
    assert cast("TaskCancelled", first.error).id == f"{batch.id}:0"


def test_a_part_adds_parts_with_its_result(worked: Queue) -> None:
    batch = worked.batch([sample_tasks.countdown.call(3)], then=sample_tasks.joined.call())
    assert worked.result(str(batch.then), PATIENCE_S)["size"] == 4
    assert {part.id: part.get() for part in worked.batch.results(batch.id)} == {
        f"{batch.id}:0": 3,
        f"{batch.id}:0/0": 2,
        f"{batch.id}:0/0/0": 1,
        f"{batch.id}:0/0/0/0": 0,
    }


def test_a_task_that_is_no_part_adds_tasks_to_the_queue(worked: Queue) -> None:
    id = worked.enqueue(sample_tasks.countdown.call(2))
    assert worked.result(f"{id}/0/0", PATIENCE_S) == 0


def test_an_attempt_that_fails_adds_none(worked: Queue, plain: redis.Redis) -> None:
    id = worked.enqueue(sample_tasks.spawn_and_fail.call())
    assert worked.result(id, PATIENCE_S) == [f"{id}:2"]
    assert isinstance(worked.result(f"{id}:2", PATIENCE_S), int)
    assert plain.hexists("worked:result", f"{id}:1") is False


def test_of_parts_with_one_id_one_is_added_however_far_apart(queue: Queue) -> None:
    parts: list[dict[str, object]] = [
        {"id": "a"},
        *({"n": n} for n in range(1_000)),
        {"id": "a"},
        {"id": "b:7"},
    ]
    assert queue.batch(parts, id="b").size == 1_001


def test_a_nested_batch_that_ends_while_it_is_added_is_an_ended_part_of_the_outer_one(queue: Queue) -> None:
    def parts(id: str) -> Iterator[dict[str, int]]:
        yield from ({"n": n} for n in range(1_000))
        queue.batch.cancel(id)
        yield from ({"n": n} for n in range(2_000))

    batch = queue.batch([{}, nested(parts("inner"), then={}, id="inner"), {}], id="outer", then={})
    assert batch.size == 3
    inner, outer = queue.batch.show("inner"), queue.batch.show("outer")
    assert inner is not None
    assert outer is not None
    assert (inner.state, outer.state) == ("cancelling", "running")
    with pytest.raises(BatchCancelled) as cancelled:
        queue.batch([nested(parts("second"), then={}, id="other")], id="second", then={})
    assert cancelled.value.id == "second"


def test_the_same_with_asyncio(url: str, name: str) -> None:
    async def run() -> int:
        async with AsyncQueue(url, queue=name, result=f"{name}:result") as queue:

            async def parts() -> AsyncIterator[dict[str, int]]:
                for n in range(1_000):
                    yield {"n": n}
                await queue.batch.cancel("inner")
                for n in range(2_000):
                    yield {"n": n}

            batch = await queue.batch([nested(parts(), then={}, id="inner"), {}], id="outer", then={})
            return batch.size

    assert asyncio.run(run()) == 2


def test_a_nested_batch_that_cannot_begin_leaves_no_part_that_is_waited_for(queue: Queue) -> None:
    with pytest.raises(BadBatch):
        queue.batch([nested([], then={})], id="outer", then={})
    view = queue.batch.show("outer")
    assert view is not None
    assert (view.state, view.left) == ("cancelled", 0)


@pytest.mark.parametrize("is_taken", [False, True])
def test_where_results_are_on_another_server_a_batch_whose_id_is_taken_deletes_none(is_taken: bool) -> None:
    adder = Adder(Client("queue", "result", 1, is_cluster=True), "b", "wait", None, False)
    adder.put({"n": 1})
    steps: Any = adder.flush()
    assert next(steps) == Commands([("HGET", "millrace:{queue}:batch:b", "adder")])
    if is_taken:
        with pytest.raises(BatchExists):
            steps.send([b"another"])
    else:
        assert steps.send([None]) == Commands([("HDEL", "result", "b:0")])
