"""How the worker side finds a function and describes its failures: pure."""

from __future__ import annotations

import dataclasses
import decimal
import os
import sys
import types
import uuid
from typing import Any

import pytest

from millrace import BadBatch, Context, FinalError, RetryAfter, Task, task
from millrace._encode import encode_task, task_id
from millrace._json import to_json
from millrace.worker import frames
from millrace.worker.target import LoadError, Target, parse


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """An empty module called `jobs`."""
    made = types.ModuleType("jobs")
    monkeypatch.setitem(sys.modules, "jobs", made)
    return made


def plain(value: object) -> object:
    return value


def with_context(value: object, context: Context) -> object:
    return value, context


def two(value: object, other: object) -> None: ...


@pytest.mark.parametrize(
    ("spec", "members", "error"),
    [
        ("nowhere", {}, "there is no module nowhere in the working directory"),
        ("jobs.deeper", {}, "there is no module jobs.deeper"),
        ("jobs.py:run", {}, "jobs.py is a file, not a module: write jobs"),
        ("jobs", {"run": plain}, "module jobs has no tasks: mark functions with @task"),
        ("jobs:walk", {}, "module jobs has no function walk"),
        ("jobs:n", {"n": 1}, "jobs:n is no function but a int"),
        ("jobs:two", {"two": two}, "jobs:two must take the task, and at most a context"),
        ("jobs", {"a": Task(plain, "x"), "b": Task(two, "x")}, "two tasks called x"),
    ],
)
def test_what_is_no_target(module: types.ModuleType, spec: str, members: dict[str, Any], error: str) -> None:
    vars(module).update(members)
    with pytest.raises(LoadError) as found:
        Target(spec)
    assert error in str(found.value)


def test_a_plain_function_gets_the_whole_task(module: types.ModuleType) -> None:
    vars(module).update(plain=plain, with_context=with_context)
    value = {"task": "plain", "args": [1]}
    assert Target("jobs:plain").find(value) == (Target("jobs:plain").only, (value,), {})
    assert Target("jobs:with_context").find("text")[0].takes_context


def test_tasks_of_a_module_are_found_by_their_names(module: types.ModuleType) -> None:
    vars(module).update(a=Task(plain), b=Task(two, "images.two"), alias=None)
    target = Target("jobs")
    assert target.find({"task": "images.two", "kwargs": {"other": 1}})[2] == {"other": 1}
    for value in ("text", {"task": "c"}, {"task": 1}, {"id": "1"}, [1]):
        with pytest.raises(FinalError, match=r"one of images\.two, plain"):
            target.find(value)


def test_the_only_task_of_a_module_gets_tasks_without_a_name_as_a_whole(module: types.ModuleType) -> None:
    vars(module).update(a=Task(plain))
    assert Target("jobs").find("text")[1] == ("text",)
    assert Target("jobs").find({"task": "plain", "args": [7]})[1] == [7]


def test_a_task_can_be_called_and_made_a_call() -> None:
    @task(name="sum")
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        return a + b

    assert (add(1), add.__doc__, repr(add)) == (3, "Adds.", "<millrace task sum>")
    assert add.call(1, b=3) == {"task": "sum", "args": [1], "kwargs": {"b": 3}}
    with pytest.raises(TypeError):
        add.call()  # type: ignore[call-arg]


def test_a_call_has_no_context() -> None:
    none = Context(id="")

    @task
    def render(scene: str, context: Context = none) -> str:
        return scene + context.id

    assert (render.call("a"), render("a")) == ({"task": "render", "args": ["a"]}, "a")
    with pytest.raises(TypeError, match="render is given its context by the worker that runs it"):
        render.call("a", context=Context(id="1"))


def test_a_context_without_a_worker() -> None:
    context = Context(id="1")
    assert (context.attempt, context.cancelled) == (1, False)
    context.progress({"percent": 1})
    with pytest.raises(RetryAfter) as found:
        context.retry_after(1.5, "busy")
    assert found.value.retry_after == 1.5
    with pytest.raises(ValueError, match="cannot retry"):
        context.retry_after(float("nan"))


def test_tasks_that_a_function_adds() -> None:
    sent: list[bytes] = []
    context = Context(id="a", raw=b'{"id":"a"}', send_spawned=sent.extend)
    assert context.spawn([{"n": 1}, "text", {"id": 7}]) == ["a/0", "text", "7"]
    assert context.spawn(iter([{}])) == ["a/3"]
    assert sent == [b'{"n":1,"id":"a/0"}', b"text", b'{"id":7}', b'{"id":"a/3"}']
    with pytest.raises(ValueError, match="a task can add 1000 tasks of 1048576 bytes in all: let one"):
        context.spawn({} for _ in range(997))
    with pytest.raises(ValueError, match="1048576 bytes"):
        context.spawn([{"x": "y" * (1 << 20)}])
    with pytest.raises(TypeError, match=r"Decimal is not JSON.*at price"):
        context.spawn([{}, {"price": decimal.Decimal(1)}])
    # what was refused does not count
    assert context.spawn([{}] * 996)[-1] == "a/999"


def test_parts_that_a_part_adds() -> None:
    sent: list[bytes] = []
    context = Context(id="b:0", raw=b'{"id":"b:0","batch":{"id":"b"}}', send_spawned=sent.extend)
    assert context.spawn([{"n": 1}, '{"id":"own"}', "{ }"]) == ["b:0/0", "own", "b:0/2"]
    # the worker marks them
    assert sent == [b'{"n":1,"id":"b:0/0"}', b'{"id":"own"}', b'{ "id":"b:0/2"}']
    with pytest.raises(BadBatch, match='a part of batch "b" is a JSON object'):
        context.spawn(["text"])


@pytest.mark.parametrize(
    ("raw", "value", "id"),
    [
        (b"text", "text", "text"),
        (b"", "", ""),
        (b"\xff", b"\xff", b"\xff"),
        (b'{"id":"a"}', {"id": "a"}, "a"),
        (b' {"id":12345678901234567890}', {"id": 12345678901234567890}, "12345678901234567890"),
        (b'{"id":1.0}', {"id": 1.0}, "1.0"),
        (b'{"id":"a","id":2}', {"id": 2}, "2"),
        (b'{"id":null}', {"id": None}, '{"id":null}'),
        (b'{"id":true}', {"id": True}, '{"id":true}'),
        (b'["id"]', ["id"], '["id"]'),
        (b'{"id":"a"', '{"id":"a"', '{"id":"a"'),
        (b"12", "12", "12"),
    ],
)
def test_values_and_ids_of_tasks(raw: bytes, value: object, id: str | bytes) -> None:
    assert parse(raw) == value
    assert task_id(raw) == id


def test_an_object_without_an_id_gets_one() -> None:
    encoded = encode_task({"n": 1, "id": None})
    assert isinstance(encoded.id, str)
    assert encoded.raw == f'{{"id":"{encoded.id}","n":1}}'.encode()
    with pytest.raises(TypeError, match="is not JSON"):
        encode_task({"x": object()})


@pytest.mark.parametrize(
    ("task", "error"),
    [
        ({"kwargs": {"price": decimal.Decimal(1)}}, r"Decimal is not JSON: .* \(at kwargs\.price\)"),
        ({"args": [1, (2, [b"x"])]}, r"bytes is not JSON: .* \(at args\[1\]\[1\]\[0\]\)"),
        ({"kwargs": {"at": {(1, 2): 3}}}, r"not tuple \(at kwargs\.at\)"),
        ({"points": {1, 2}}, r"set is not JSON: .* \(at points\)"),
        ({"z": 1j}, r"complex is not JSON: .* \(at z\)"),
        (
            Task(plain),
            r"a task cannot be a function: enqueue what its call\(…\) returns, not <millrace task plain>",
        ),
        (plain, "a task cannot be a function"),
        ({"id": uuid.uuid4()}, r"the id of a task is a text or a number: got UUID, write str\(id\)"),
        ({"id": "caf\udce9"}, r"the id of a task is no Unicode text.* got 'caf\\udce9'"),
        ("caf\udce9", r"a task cannot be a text that is not Unicode \(surrogates not allowed\): pass bytes"),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_its_place(task: object, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        encode_task(task)


def test_ids_of_other_kinds_than_text() -> None:
    import numpy as np

    assert encode_task({"id": np.int64(7)}) == ("7", b'{"id":7}')
    assert encode_task({"id": 2**70}) == (str(2**70), b'{"id":%d}' % 2**70)
    assert encode_task(types.MappingProxyType({"id": "a"})) == ("a", b'{"id":"a"}')

    @dataclasses.dataclass
    class Tile:
        x: int

    own, raw = encode_task(Tile(1))
    assert raw == f'{{"id":"{own!s}","x":1}}'.encode()


def test_file_names_that_are_no_text_survive() -> None:
    name = os.fsdecode(b"caf\xe9")
    raw = encode_task({"id": "a", "file": name}).raw
    assert raw == b'{"id":"a","file":"caf\\udce9"}'
    assert parse(raw)["file"] == name


def test_json_of_numpy_dates_and_numbers_that_are_none() -> None:
    import datetime

    import numpy as np

    @dataclasses.dataclass
    class Point:
        x: float
        at: datetime.date

    value = {
        "a": np.float64(0.5),
        "b": np.arange(3),
        "p": Point(float("inf"), datetime.date(2026, 1, 2)),
        "t": (1, None),
    }
    assert to_json(value) == '{"a":0.5,"b":[0,1,2],"p":{"x":null,"at":"2026-01-02"},"t":[1,null]}'


def test_frames_in_pieces() -> None:
    run = frames.frame(frames.RUN, 7, frames._RUN.pack(2, 0, 2, 4, 3) + b"idmaila\nbraw")
    same = frames.frame(frames.RUN, 8, frames._RUN.pack(1, 1, 0xFFFFFFFF, 4, 0) + b"mail\xff")
    runs = frames.frame(frames.RUNS, 9, frames._RUNS.pack(1, 4) + b"\1\0\0\0mail[7]")
    stream = run + frames.frame(frames.CANCEL, 7, b"why") + same + runs
    expected = [
        (7, b"raw", ("id", 2, "mail", "a\nb")),
        (7,),
        (8, b"\xff", (b"\xff", 1, "mail", "")),
        [7],
    ]

    def told(found: frames.Run | frames.Runs | frames.Cancel) -> object:
        if isinstance(found, frames.Cancel):
            return tuple(found)
        if isinstance(found, frames.Runs):
            return found.values(parse)
        return found.number, found.raw, tuple(found.describe(found.number)[1])

    for size in (1, 2, 9, 13, len(stream)):
        reader = frames.Reader(ids=False)
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [told(found) for piece in pieces for found in reader.push(piece)] == expected
