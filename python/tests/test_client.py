"""Queue and AsyncQueue against a real Redis: what they write, and what they read of what others wrote."""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from fractions import Fraction
from typing import Any, cast

import pytest
import redis
import redis.asyncio
from conftest import NODE, ROOT

from millrace import (
    AsyncQueue,
    BadTaskOptions,
    BatchTimeout,
    NotJson,
    Queue,
    ResultTimeout,
    TaskCancelled,
    TaskFailed,
    WrongKeyType,
    nested,
)
from millrace._results import seconds_of


def test_pushes_what_a_plain_worker_takes(queue: Queue, name: str, plain: redis.Redis) -> None:
    assert queue.enqueue("text") == "text"
    assert queue.enqueue(b"\xff\x00") == b"\xff\x00"
    assert queue.enqueue({"id": "a", "n": 1}) == "a"
    assert queue.enqueue({"id": 12, "n": 1}) == "12"
    assert queue.enqueue('{ "id": 1.50 }') == "1.50"
    own = queue.enqueue({"n": 2.5})
    taken = [plain.rpop(name) for _ in range(6)]
    assert taken[:5] == [b"text", b"\xff\x00", b'{"id":"a","n":1}', b'{"id":12,"n":1}', b'{ "id": 1.50 }']
    assert json.loads(taken[5] or b"") == {"id": own, "n": 2.5}
    assert plain.llen(name) == 0


WRONG_KEYS: dict[str, tuple[str, str, str]] = {
    "enqueue": ("{name}", "a list", "nothing was touched"),
    "enqueue_later": ("millrace:{{{name}}}:delayed", "a sorted set", "nothing was touched"),
    "enqueue_many": ("{name}", "a list", "tasks before these may have been pushed"),
    "enqueue_high": ("millrace:{{{name}}}:priorities", "a hash", "nothing was touched"),
    "cancel": ("millrace:{{{name}}}:cancelled", "a sorted set", "nothing was touched"),
    "cancel_counted": ("millrace:{{{name}}}:stats", "a hash", "nothing was touched"),
    "progress": ("millrace:{{{name}}}:load", "a hash", "nothing was touched"),
    "result": ("{name}:result", "a hash", "nothing was touched"),
}


@pytest.mark.parametrize("ask", WRONG_KEYS)
def test_names_a_key_of_another_type(queue: Queue, url: str, name: str, plain: redis.Redis, ask: str) -> None:
    key, wanted, harm = WRONG_KEYS[ask]
    key = key.format(name=name)
    plain.set(key, "of something else")
    asking: dict[str, Callable[[Any], Any]] = {
        "enqueue": lambda queue: queue.enqueue("a"),
        "enqueue_later": lambda queue: queue.enqueue("a", delay=1_000),
        "enqueue_many": lambda queue: queue.enqueue_many(["a", "b"]),
        "enqueue_high": lambda queue: queue.enqueue("a", priority="high"),
        "cancel": lambda queue: queue.cancel("a"),
        "cancel_counted": lambda queue: queue.cancel("a"),
        "progress": lambda queue: queue.progress("a"),
        "result": lambda queue: queue.result("a", timeout=5),
    }
    said = re.escape(f'the key "{key}" is not {wanted} (it is a string): {harm}; use another key')

    async def ask_async() -> None:
        async with AsyncQueue(url, queue=name, result=f"{name}:result") as other:
            with pytest.raises(WrongKeyType, match=said):
                await asking[ask](other)

    with pytest.raises(WrongKeyType, match=said):
        asking[ask](queue)
    asyncio.run(ask_async())
    assert plain.get(key) == b"of something else"
    assert not plain.exists(f"millrace:{{{name}}}:cancelled") or ask == "cancel"


def test_returns_results_as_asked(queue: Queue, name: str, plain: redis.Redis) -> None:
    plain.hset(f"{name}:result", mapping={"a": '{"x":[1,null]}', "b": "plain ü", "c": b"\xff"})
    assert queue.result("a") == {"x": [1, None]}
    assert queue.result("b", as_="text") == "plain ü"
    assert queue.result("c", as_="bytes") == b"\xff"
    with pytest.raises(NotJson, match="not JSON: read it with as_='text'"):
        queue.result("b")


def test_waits_for_a_result(queue: Queue, name: str, plain: redis.Redis) -> None:
    thread = threading.Timer(0.02, plain.hset, [f"{name}:result", "late", "1"])
    thread.start()
    assert queue.result("late") == 1
    thread.join()
    with pytest.raises(ResultTimeout, match=r"no result of task never within 0\.01 s"):
        queue.result("never", timeout=0.01)


def test_results_come_as_they_are_there(queue: Queue, name: str, plain: redis.Redis) -> None:
    ids = queue.enqueue_many({"id": str(i)} for i in range(2_500))
    assert ids == [str(i) for i in range(2_500)]
    assert plain.lrange(name, -1, -1) == [b'{"id":"0"}']
    plain.hset(f"{name}:result", mapping={id: id for id in ids[:2_499]})
    plain.hset(
        f"millrace:{{{name}}}:errors", "2499", json.dumps({"error": "broken", "attempts": 5, "worker": "w"})
    )
    found = {outcome.id: outcome for outcome in queue.results(ids, timeout=60)}
    assert len(found) == 2_500
    assert found["7"].get() == 7
    error = found["2499"].error
    assert isinstance(error, TaskFailed)
    assert (error.error, error.attempts, error.worker) == ("broken", 5, "w")
    assert str(error) == "task 2499 failed for good: broken"


def test_what_an_earlier_task_of_the_id_left_is_deleted(queue: Queue, name: str, plain: redis.Redis) -> None:
    plain.hset(f"{name}:result", "a", "old")
    plain.hset(f"millrace:{{{name}}}:errors", "a", "old")
    queue.enqueue({"id": "a"})
    assert plain.hlen(f"{name}:result") == 0
    assert plain.hlen(f"millrace:{{{name}}}:errors") == 0


def test_delayed_tasks(queue: Queue, name: str, plain: redis.Redis) -> None:
    queue.enqueue("soon", delay=60)
    queue.enqueue("late", at=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1))
    assert queue.enqueue("now", delay=0) == "now"
    assert plain.lrange(name, 0, -1) == [b"now"]
    members = plain.zrange(f"millrace:{{{name}}}:delayed", 0, -1, withscores=True)
    assert [member.split(b"|", 1)[1] for member, _ in members] == [b"0|0|soon", b"0|0|late"]
    [first, second] = [score for _, score in members]
    assert 3_000_000 < second - first < 4_000_000
    with pytest.raises(ValueError, match="not both"):
        queue.enqueue("x", delay=1, at=datetime.datetime.now())


def test_cancelling(queue: Queue, name: str, plain: redis.Redis) -> None:
    id = queue.enqueue({"n": 1})
    assert queue.cancel(id) is True
    assert plain.zrange(f"millrace:{{{name}}}:cancelled", 0, -1) == [str(id).encode()]
    plain.hset(f"{name}:result", id, "1")
    assert queue.cancel(id) is False
    plain.hset(f"millrace:{{{name}}}:errors", "c", '{"cancelled":true,"error":"","attempts":0,"worker":""}')
    with pytest.raises(TaskCancelled):
        queue.result("c")


def test_progress(queue: Queue, name: str, plain: redis.Redis) -> None:
    assert queue.progress("a") is None
    plain.hset(f"millrace:{{{name}}}:load", mapping={"w1": 1, "w2": 1})
    plain.hset(f"millrace:{{{name}}}:progress:w2", "a", '{"percent":40}')
    assert queue.progress("a") == {"percent": 40}
    assert queue.progress("b") is None


def test_a_push_that_is_sent_again_is_made_once(
    queue: Queue, name: str, plain: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = queue._make

    def twice(step: Any) -> Any:
        make(step)
        return make(step)

    monkeypatch.setattr(queue, "_make", twice)
    for i in range(100):
        queue.enqueue(f"task {i}")
    assert plain.llen(name) == 100
    # what was answered is forgotten but for the last few
    [pushes] = plain.keys(f"millrace:{{{name}}}:pushes:*")
    assert plain.hlen(pushes) < 70
    queue.close()
    assert plain.keys(f"millrace:{{{name}}}:pushes:*") == []


def test_threads_share_a_queue(queue: Queue, name: str, plain: redis.Redis) -> None:
    def push(of: int) -> None:
        for i in range(200):
            queue.enqueue(f"{of}-{i}")

    threads = [threading.Thread(target=push, args=[of]) for of in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(plain.lrange(name, 0, -1))) == 800


def test_a_client_of_ones_own_stays_open(port: int, name: str) -> None:
    with redis.Redis(port=port, decode_responses=True) as own:
        with Queue(own, queue=name, result=f"{name}:result") as queue:
            queue.enqueue({"id": "a"})
            own.hset(f"{name}:result", "a", "[1]")
            assert queue.result("a") == [1]
        assert own.llen(name) == 1


@pytest.mark.parametrize("partitions", [0, 257])
def test_partitions_that_cannot_be(partitions: int) -> None:
    with pytest.raises(ValueError, match="1 to 256 partitions"):
        Queue(partitions=partitions)
    for name in ("{a}", "a{"):
        with pytest.raises(ValueError, match="hash tag"):
            Queue(queue=name, partitions=2)
    with pytest.raises(ValueError, match="keys of their own"):
        Queue(queue="a", result="a")


def test_partitions_are_chosen_as_the_library_does(url: str, name: str, plain: redis.Redis) -> None:
    ids = ["a", "tile/7", "été", "123", "x" * 100]
    with Queue(url, queue=name, result=f"{name}:result", partitions=16) as queue:
        queue.enqueue_many({"id": id} for id in ids)
        for id in ids:
            n = zlib.crc32(id.encode()) % 16
            assert (
                plain.lpos(
                    f"{name}:{{{n}}}", json.dumps({"id": id}, ensure_ascii=False, separators=(",", ":"))
                )
                is not None
            )
            plain.hset(f"{name}:result:{{{n}}}", id, '"here"')
        assert {outcome.get() for outcome in queue.results(ids)} == {"here"}
    # and the library agrees
    script = (
        "import { partitionOf } from './queue/partitions.ts'; import { queueKeys } from './queue/keys.ts';"
        "const ids = JSON.parse(process.argv[1]); const names = JSON.parse(process.argv[2]);"
        "console.log(JSON.stringify([ids.map((id) => partitionOf(id, 16)), names.map((name) => queueKeys(name, 'r').dead)]))"
    )
    names = ["plain", "{orders}:x", "a}b", "{}x", "{a}{b}"]
    answer = subprocess.run(
        [NODE, "--input-type=module-typescript", "-e", script, json.dumps(ids), json.dumps(names)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    from millrace._keys import partition_of, partitioned_keys

    ours = [
        [partition_of(id, 16) for id in ids],
        [partitioned_keys(one, "r", 1)[0].own("dead") for one in names],
    ]
    assert json.loads(answer.stdout) == ours


def test_tasks_in_partitions_that_their_ids_did_not_choose(url: str, name: str, plain: redis.Redis) -> None:
    """As a plain client may push them."""
    with Queue(url, queue=name, result=f"{name}:result", partitions=4) as queue:
        away = (zlib.crc32(b"a") + 1) % 4
        plain.lpush(f"{name}:{{{away}}}", '{"id":"a"}')
        assert queue.cancel("a") is True
        assert plain.zcard(f"millrace:{{{away}}}[{name}:{{{away}}}]:cancelled") == 1
        plain.hset(f"{name}:result:{{{away}}}", "a", "1")
        assert queue.cancel("a") is False
        assert queue.result("a", timeout=60) == 1
        plain.hset(f"millrace:{{{away}}}[{name}:{{{away}}}]:load", "w", 1)
        plain.hset(f"millrace:{{{away}}}[{name}:{{{away}}}]:progress:w", "a", "7")
        assert queue.progress("a") == 7


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"expiresAt": "2026-03-01"}, 'expiresAt is a time in milliseconds since 1970, .*: got "2026-03-01"'),
        ({"expiresAt": None}, "got null"),
        ({"expiresAt": True}, "got true"),
        ({"expiresAt": math.nan}, "got null"),
        ({"expiresAt": -1}, "got -1, which is before that"),
        ({"expiresAt": 1_796_040_000}, "got 1796040000, which would be seconds"),
        ({"expiresAt": 1.8e15}, "which would be microseconds"),
        ({"expireAt": 1}, 'its field "millrace" has "expireAt", which means nothing'),
        ({"unique": 7}, 'unique is a key, a text such as "invoice-42": got 7'),
        ({"unique": "é" * 101}, "at most 200 bytes: got 202"),
        ({"uniqueForMs": 5}, "no key: name it in unique"),
        ({"unique": "k", "uniqueForMs": 0}, "uniqueForMs is a time in milliseconds"),
    ],
)
def test_options_that_cannot_be_are_refused(
    queue: Queue, plain: redis.Redis, name: str, options: dict[str, Any], why: str
) -> None:
    for push in (
        lambda: queue.enqueue({"id": "a", "millrace": options}),
        lambda: queue.enqueue_many([{"id": "a", "millrace": options}]),
        lambda: queue.batch([{"millrace": options}]),
    ):
        with pytest.raises(BadTaskOptions, match=why):
            push()
    with pytest.raises(BadTaskOptions, match="an id of at most 1024 bytes"):
        queue.enqueue(json.dumps({"id": "x" * 2_000, "millrace": {"unique": "k"}}))
    assert plain.llen(name) == 0


def test_options_that_can_be_and_a_field_of_ones_own_are_pushed(queue: Queue) -> None:
    whole = {"expiresAt": 1_796_040_000_000, "unique": "k", "uniqueForMs": 5.5}
    for own in (whole, {}, "text", None, [1], 7):
        assert queue.enqueue({"id": "a", "millrace": own}) == "a"
    assert queue.enqueue('{"id":"b","millrace":{"expireAt":NaN}}')
    assert queue.enqueue('a text with "millrace"') == 'a text with "millrace"'


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(steps)


def test_asyncio_does_the_same(url: str, name: str, plain: redis.Redis) -> None:
    async def steps() -> None:
        async with AsyncQueue(url, queue=name, result=f"{name}:result") as queue:
            assert await queue.enqueue({"id": "a"}) == "a"
            assert await queue.enqueue_many({"id": str(i)} for i in range(1_500)) == [
                str(i) for i in range(1_500)
            ]

            async def produced() -> AsyncIterator[object]:
                yield "x"
                await asyncio.sleep(0)
                yield "y"

            assert await queue.enqueue_many(produced(), delay=60) == ["x", "y"]
            assert plain.llen(name) == 1_501
            assert plain.zcard(f"millrace:{{{name}}}:delayed") == 2
            waits = [asyncio.create_task(queue.result(str(i))) for i in range(1_500)]
            dropped = asyncio.create_task(queue.result("0"))
            await asyncio.sleep(0.02)
            dropped.cancel()
            plain.hset(f"{name}:result", mapping={str(i): i for i in range(1_500)})
            assert await asyncio.gather(*waits) == list(range(1_500))
            found = [outcome.get() async for outcome in queue.results(["3", "4"])]
            assert sorted(found) == [3, 4]
            with pytest.raises(ResultTimeout):
                await queue.result("never", timeout=0.01)
            with pytest.raises(ResultTimeout):
                async for _ in queue.results(["never"], timeout=0.01):
                    pass
            assert await queue.cancel("never") is True
            assert await queue.cancel("3") is False
            assert await queue.progress("3") is None

    run(steps())


def test_asyncio_passes_errors_on_to_all_who_wait(url: str, name: str, plain: redis.Redis) -> None:
    async def steps() -> None:
        async with AsyncQueue(url, queue=name, result=f"{name}:result") as queue:
            plain.set(f"{name}:result", "no hash")
            waits = [asyncio.create_task(queue.result(id)) for id in "ab"]
            for error in await asyncio.gather(*waits, return_exceptions=True):
                assert isinstance(error, WrongKeyType)
            plain.delete(f"{name}:result")
            plain.hset(f"{name}:result", "a", "1")
            assert await queue.result("a") == 1

    run(steps())


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda queue: queue.enqueue_many({"n": 1}), r"several tasks are expected.* got \{'n': 1\}"),
        (lambda queue: queue.enqueue_many("text"), "several tasks are expected"),
        (lambda queue: queue.results("id"), "several ids are expected, such as a list of them: got 'id'"),
        (lambda queue: queue.batch({"n": 1}), "several tasks are expected"),
        (lambda queue: queue.batch([nested("ab", then={})]), "several tasks are expected"),
        (
            lambda queue: queue.result(5),
            "the id of a task is the text or the bytes that enqueue returned: got 5",
        ),
        (lambda queue: queue.cancel(None), "the id of a task is"),
        (lambda queue: queue.progress(5), "the id of a task is"),
        (lambda queue: queue.result("a", as_="int"), "as_ is one of json, text, bytes: got 'int'"),
        (lambda queue: queue.batch.results("b", as_="int"), "as_ is one of json, text, bytes"),
        (lambda queue: queue.batch.show(5), "the id of a batch is a text: got 5"),
        (
            lambda queue: queue.enqueue("a", delay="soon"),
            "delay is a number of seconds or a timedelta: got 'soon'",
        ),
        (lambda queue: queue.enqueue("a", delay=float("nan")), "a task cannot be delayed by nan s"),
        (lambda queue: queue.enqueue("a", delay=float("inf")), "within the next 100 years"),
        (lambda queue: queue.enqueue("a", at=1_790_000_000), "at is a datetime: got 1790000000"),
        (
            lambda queue: queue.result("a", timeout="1"),
            "timeout is a number of seconds or a timedelta: got '1'",
        ),
        (lambda queue: queue.results(["a"], timeout=float("nan")), "timeout is a number of seconds: got nan"),
        (lambda queue: queue.batch.wait("b", timeout=True), "timeout is .* a timedelta: got True"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(
    url: str, queue: Queue, name: str, plain: redis.Redis, use: Any, error: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        list(use(queue))

    async def steps() -> None:
        async with AsyncQueue(url, queue=name, result=f"{name}:result") as queue:
            with pytest.raises((TypeError, ValueError), match=error):
                await all_of(use(queue))

    async def all_of(used: Any) -> None:
        if isinstance(used, AsyncIterator):
            [one async for one in used]
        else:
            await used

    run(steps())
    assert plain.llen(name) == 0


def test_a_timeout_may_be_a_timedelta(url: str, queue: Queue, name: str) -> None:
    soon = datetime.timedelta(milliseconds=10)
    with pytest.raises(ResultTimeout, match=r"within 0\.01 s"):
        queue.result("nobody", timeout=soon)
    batch = queue.batch([{"n": 1}])
    with pytest.raises(BatchTimeout, match=r"0\.01 s"):
        queue.batch.wait(batch.id, timeout=soon)

    async def steps() -> None:
        async with AsyncQueue(url, queue=name, result=f"{name}:result") as queue:
            with pytest.raises(ResultTimeout, match=r"within 0\.01 s"):
                await queue.result("nobody", timeout=soon)
            with pytest.raises(ResultTimeout, match=r"within 0\.01 s"):
                [one async for one in queue.results(["nobody"], timeout=soon)]
            with pytest.raises(BatchTimeout, match=r"0\.01 s"):
                await queue.batch.wait(batch.id, timeout=soon)

    run(steps())


@pytest.mark.parametrize("seconds", [Fraction(1, 100), -(10**400), -math.inf])
def test_a_timeout_may_be_any_real_number(queue: Queue, seconds: Any) -> None:
    with pytest.raises(ResultTimeout):
        queue.result("nobody", timeout=seconds)


def test_a_timeout_beyond_all_floats_never_ends() -> None:
    for timeout in (10**400, math.inf, None):
        assert seconds_of(timeout) is None


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python does not tell how often a task was cancelled")
def test_a_wait_that_is_cancelled_ends_whatever_it_does_at_that_moment(
    url: str, queue: Queue, name: str
) -> None:
    batch = queue.batch([{"n": 1}])

    async def steps() -> None:
        async with AsyncQueue(url, queue=name, result=f"{name}:result") as queue:

            async def results() -> None:
                async for _ in queue.results(["nobody"]):
                    pass

            waits = (lambda: queue.batch.wait(batch.id), lambda: queue.result("nobody"), results)
            for turns in range(40):
                for wait in waits:
                    waiting: asyncio.Task[Any] = asyncio.create_task(wait())
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    waiting.cancel()
                    ended, _ = await asyncio.wait([waiting], timeout=30)
                    assert ended, f"after {turns} turns of the loop"
                    assert waiting.cancelled()

    run(steps())


def test_a_process_that_was_forked_off_is_a_client_of_its_own(
    queue: Queue, name: str, plain: redis.Redis
) -> None:
    queue.enqueue("first")
    # as if another thread were using the queue
    with queue._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            try:
                queue.enqueue("of the child")
                queue.close()
                os._exit(0)
            except BaseException:
                os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    queue.enqueue("second")
    assert plain.lrange(name, 0, -1) == [b"second", b"of the child", b"first"]
    # what the parent has pushed is remembered as before
    assert len(plain.keys(f"millrace:{{{name}}}:pushes:*")) == 1


@pytest.mark.parametrize(
    "url",
    [
        "redis://:se/cret@localhost",
        "redis://:12/secret@localhost",
        "redis://:12#secret@x",
        "redis://localhost/secret",
        "redis://:12?secret@localhost",
        "redis://localhost:0/secret",
        "redis://localhost/0?db=",
        "unix://secret/redis.sock",
        "unix:///tmp/redis#secret.sock",
    ],
)
def test_a_url_that_would_be_read_as_another_one_is_refused_and_not_shown(url: str) -> None:
    for client in (Queue, AsyncQueue):
        with pytest.raises(ValueError, match=r"the Redis URL .*urllib\.parse\.quote") as refused:
            client(url)
        assert "cret" not in str(refused.value)
    Queue("redis://:s%2Fecret@localhost/3?protocol=3").close()
    Queue("unix:///tmp/some.sock?db=1").close()
    Queue("unix://user@/tmp/some.sock?db=1&password=s@cret").close()


def test_clients_of_the_other_kind_are_refused(plain: redis.Redis) -> None:
    with pytest.raises(TypeError, match=r"a Queue takes a URL, .* a redis\.asyncio\.client\.Redis"):
        Queue(cast("redis.Redis", redis.asyncio.Redis()))
    with pytest.raises(TypeError, match=r"got 5, a builtins\.int"):
        Queue(cast("str", 5))
    with pytest.raises(TypeError, match=r"an AsyncQueue takes a URL, .* a redis\.client\.Redis"):
        AsyncQueue(cast("redis.asyncio.Redis", plain))


def test_priorities(queue: Queue, name: str, plain: redis.Redis) -> None:
    high, low, served = f"{{{name}}}:high", f"{{{name}}}:low", f"millrace:{{{name}}}:priorities"
    with pytest.raises(BadTaskOptions, match=r"serves no tasks of high priority, and nothing was pushed"):
        queue.enqueue("a", priority="high")
    assert not plain.exists(high)
    plain.hset(served, mapping={"high": "open", "low": "closed"})
    assert queue.enqueue("a", priority="high") == "a"
    assert queue.enqueue_many(["b", "c"], priority="high") == ["b", "c"]
    assert queue.enqueue("n", priority="normal") == "n"
    queue.enqueue("later", delay=60, priority="high")
    with pytest.raises(BadTaskOptions, match=r"no tasks of low priority"):
        queue.enqueue_many(["d"], priority="low")
    assert [plain.lrange(key, 0, -1) for key in (high, name, low)] == [[b"c", b"b", b"a"], [b"n"], []]
    assert plain.zcard(f"millrace:{{{name}}}[{high}]:delayed") == 1
    with pytest.raises(BadTaskOptions, match=r"high, normal or low: got 'urgent'"):
        queue.enqueue("e", priority=cast(Any, "urgent"))
    parts, odd = Queue(queue._redis, f"{name}-parts", partitions=2), Queue(queue._redis, "a}b")
    with pytest.raises(BadTaskOptions, match="in partitions has no priorities"):
        parts.enqueue("e", priority="low")
    with pytest.raises(BadTaskOptions, match="cannot have priorities"):
        odd.enqueue("e", priority="low")
    # marked where it is found, and otherwise in all lists
    assert queue.cancel("b") is True
    marks = [
        f"millrace:{{{name}}}:cancelled",
        *(f"millrace:{{{name}}}[{key}]:cancelled" for key in (high, low)),
    ]
    assert [plain.zrange(key, 0, -1) for key in marks] == [[], [b"b"], []]
    assert queue.cancel("unknown") is True
    assert [plain.zscore(key, "unknown") is None for key in marks] == [False, False, False]
    plain.hset(f"millrace:{{{name}}}[{high}]:load", "w", 1)
    plain.hset(f"millrace:{{{name}}}[{high}]:progress:w", "a", "7")
    assert queue.progress("a") == 7
    plain.hset(
        f"millrace:{{{name}}}:errors", "a", json.dumps({"error": "broken", "attempts": 1, "worker": "w"})
    )
    with pytest.raises(TaskFailed, match="broken"):
        queue.result("a")
    assert queue.cancel("a") is False
    pushes = f"millrace:{{{name}}}[[]{{{name}}}:high]:pushes:*"
    assert len(plain.keys(pushes)) == 1
    queue.close()
    assert plain.keys(pushes) == []


def test_priorities_with_asyncio(url: str, name: str, plain: redis.Redis) -> None:
    async def main() -> None:
        async with AsyncQueue(url, name, f"{name}:result") as queue:
            with pytest.raises(BadTaskOptions, match="no tasks of high priority"):
                await queue.enqueue("a", priority="high")
            plain.hset(f"millrace:{{{name}}}:priorities", "high", "open")
            await queue.enqueue("a", priority="high")
            assert await queue.enqueue_many(["b", "c"], priority="high") == ["b", "c"]

    asyncio.run(main())
    assert plain.lrange(f"{{{name}}}:high", 0, -1) == [b"c", b"b", b"a"]
