"""The tasks of a batch as they are written, and what is refused: as `queue/batch-mark.ts`, in the same words."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from ._encode import (
    Encoded,
    check_text,
    encode_task,
    has_id,
    refuse_constant,
    task_id,
    with_options_checked,
)
from ._json import json_object, to_json, utf8
from .errors import BadBatch, short

OnFailure: TypeAlias = Literal["wait", "cancel", "continue"]

MAX_BATCH_ID_BYTES = 200
MAX_PART_ID_BYTES = 1_024
MAX_THEN_BYTES = 1 << 20
MAX_BATCH_SIZE = 100_000_000


class Mark(NamedTuple):
    """The batch that a task names, and its size if the task names that."""

    batch: str
    size: int | None = None


class Then(NamedTuple):
    """The task that follows a batch, as it is pushed but for its field ``parts``."""

    id: str
    raw: bytes
    outer: Mark | None
    """The batch that it is itself a part of."""


def encode_part(batch: str, task: object, fallback_id: str, marked: bool = True) -> Encoded:
    """A part as it is pushed: a JSON object, or the text of one, with that id if it has none. ``marked``: with its batch.

    Raises ``BadBatch`` for anything else, and for one that has a field ``batch`` already; ``BadTaskOptions``.
    """
    if isinstance(task, (str, bytes, bytearray, memoryview)):
        text = task if isinstance(task, str) else _decoded(batch, bytes(task))
        value = _parsed(text)
    else:
        text = None
        value = json_object(task)
    if not isinstance(value, dict):
        found = f'"{short(text, 40)}"' if text is not None else _described(task)
        raise BadBatch(
            f'a part of batch "{batch}" is a JSON object, which can carry the batch\'s id: got {found}'
        )
    if "batch" in value:
        raise BadBatch(
            f'a part of batch "{batch}" has a field "batch" already ({to_json(value["batch"])[:80]}): '
            "that is where its batch is named"
        )
    named = has_id(value)
    added = {**({} if named else {"id": fallback_id}), **({"batch": {"id": batch}} if marked else {})}
    if text is None:
        raw = utf8(to_json({**value, **added}))
    elif not added:
        raw = utf8(text)
    else:
        # as it is: numbers of any length survive
        raw = utf8(f"{text.rstrip()[:-1]}{',' if value else ''}{to_json(added)[1:]}")
    own: object = value["id"] if named else fallback_id
    id = check_text(own if type(own) is str else task_id(raw))
    check_part_id(batch, id)
    return with_options_checked(Encoded(id, raw))


def encode_then(batch: str, then: object) -> Then:
    """The task that follows. A JSON object, or the text of one, gets the id ``BATCH:then`` if it has none.

    Raises ``BadBatch`` for what is no task, and for text that begins like a JSON object and is none.
    """
    task = json_object(then) if not isinstance(then, str) else then
    value = _parsed_then(batch, task) if isinstance(task, str) else task
    if not isinstance(value, (str, dict)):
        raise BadBatch(
            f'"then" of batch "{batch}" is a task, a JSON object or a text: got {_described(then)}'
        )
    if value == "":
        raise BadBatch(f'"then" of batch "{batch}" is an empty text: omit it, or name a task')
    if isinstance(value, str):
        id, raw = _checked_then(batch, encode_task(value))
        return Then(id, raw, None)
    if "parts" in value:
        raise BadBatch(
            f'"then" of batch "{batch}" has a field "parts": that is where it is told the batch\'s results. Rename yours'
        )
    id, raw = _checked_then(batch, _encoded_then(batch, task, value))
    return Then(id, raw, _mark_of(value))


def _encoded_then(batch: str, task: object, value: dict[str, Any]) -> Encoded:
    first = "" if has_id(value) else f'"id":{to_json(f"{batch}:then")}'
    if isinstance(task, str):
        # as it is, too
        rest = task.strip()[1:]
        return encode_task("{" + first + ("," if first and value else "") + rest)
    return encode_task({**value, "id": f"{batch}:then"} if first else value)


def _checked_then(batch: str, encoded: Encoded) -> tuple[str, bytes]:
    id, raw = encoded
    check_part_id(batch, id)
    if len(raw) > MAX_THEN_BYTES:
        raise BadBatch(
            f'"then" of batch "{batch}" is too large: {len(raw)} bytes, and at most {MAX_THEN_BYTES} are allowed. '
            "Store it elsewhere and push a reference"
        )
    return str(id), raw


def mark_of(value: object) -> Mark | None:
    """The batch that a task names; ``None`` for a task that is no part of one."""
    batch = value.get("batch") if isinstance(value, dict) else None
    if not isinstance(batch, dict) or not isinstance(batch.get("id"), str):
        return None
    return Mark(batch["id"], batch.get("size"))


def _mark_of(then: dict[str, Any]) -> Mark | None:
    mark = mark_of(then)
    if mark is not None:
        check_batch_id(mark.batch)
        _check_size(mark)
    return mark


def _check_size(mark: Mark) -> None:
    if mark.size is None or (type(mark.size) is int and 1 <= mark.size <= MAX_BATCH_SIZE):
        return
    raise BadBatch(
        f'the size of batch "{mark.batch}" is the number of its parts, from 1 to {MAX_BATCH_SIZE}: got {_described(mark.size)}'
    )


def check_batch_id(id: object) -> str:
    """Raises ``BadBatch``."""
    if not isinstance(id, str):
        raise BadBatch(f"the id of a batch is a text: got {_described(id)}")
    size = len(id.encode(errors="surrogatepass"))
    if size == 0:
        raise BadBatch("the id of a batch is empty: give it a text")
    if size > MAX_BATCH_ID_BYTES:
        raise BadBatch(
            f'the id of a batch is too long: {size} bytes, and at most {MAX_BATCH_ID_BYTES} are allowed ("{id[:40]}…")'
        )
    return id


def check_part_id(batch: str, id: str | bytes) -> None:
    """Raises ``BadBatch``."""
    size = len(id if isinstance(id, bytes) else id.encode(errors="surrogatepass"))
    if size > MAX_PART_ID_BYTES:
        raise BadBatch(
            f'the id of a part of batch "{batch}" is too long: {size} bytes, and at most {MAX_PART_ID_BYTES} are allowed. '
            'A task without a field "id" is its own id: give it one'
        )


def check_policy(batch: str, policy: object) -> str:
    """Raises ``BadBatch``."""
    policies = get_args(OnFailure)
    if policy in policies:
        return str(policy)
    raise BadBatch(f'on_failure of batch "{batch}" is one of {", ".join(policies)}: got {_described(policy)}')


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return None


def _parsed_then(batch: str, text: str) -> Any:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadBatch(
            f'"then" of batch "{batch}" begins like a JSON object and does not parse: {error}'
        ) from error


def _decoded(batch: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadBatch(
            f'a part of batch "{batch}" is a JSON object, which can carry the batch\'s id: got bytes that are no text'
        ) from None


def _described(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
