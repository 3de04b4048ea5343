"""A task as bytes, and the id under which its result is stored, as `queue/task.ts` finds it."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from ._json import json_object, to_json, utf8
from ._options import check_options


class Encoded(NamedTuple):
    """A task to be pushed."""

    id: str | bytes
    raw: bytes


class _Spelled(str):
    """A number as the JSON spells it: 12345678901234567890 and 1.0 do not survive a double."""


def encode_task(task: object) -> Encoded:
    """Text and bytes as they are, anything else as JSON; an object without an ``id`` gets one.

    Raises ``TypeError`` or ``ValueError`` for what JSON cannot express, ``BadTaskOptions``.
    """
    if isinstance(task, str):
        return _with_id(_plain_text(task))
    if isinstance(task, (bytes, bytearray, memoryview)):
        return _with_id(bytes(task))
    if callable(task) and not isinstance(task, type):
        raise TypeError(f"a task cannot be a function: enqueue what its call(…) returns, not {task!r}")
    value = json_object(task)
    if isinstance(value, dict) and not has_id(value):
        id = str(uuid.uuid4())
        rest = {key: member for key, member in value.items() if key != "id"}
        return with_options_checked(Encoded(id, utf8(to_json({"id": id, **rest}))))
    return _with_id(utf8(to_json(value)))


def _with_id(raw: bytes) -> Encoded:
    return with_options_checked(Encoded(check_text(task_id(raw)), raw))


def with_options_checked(task: Encoded) -> Encoded:
    """The task. Raises ``BadTaskOptions``."""
    if b'"millrace"' in task.raw:
        try:
            value = json.loads(task.raw, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            return task  # no JSON
        check_options(value, task.id)
    return task


def check_text(id: str | bytes) -> str | bytes:
    """Raises ``ValueError`` for an id that is text, but no Unicode: another program would read another one."""
    if isinstance(id, str) and not id.isascii():
        try:
            id.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"the id of a task is no Unicode text, and so nobody could look up its result: got {id[:100]!a}"
            ) from None
    return id


def _plain_text(task: str) -> bytes:
    try:
        return task.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"a task cannot be a text that is not Unicode ({error.reason}): pass bytes, as of os.fsencode(…)"
        ) from None


def check_id(id: object) -> None:
    """Raises ``TypeError`` for what is no id as `Queue.enqueue` returns it."""
    if not isinstance(id, (str, bytes)):
        raise TypeError(
            f"the id of a task is the text or the bytes that enqueue returned: got {id!r:.100}, a {type(id).__name__}"
        )


def check_many(many: object, what: str) -> None:
    """Raises ``TypeError`` for a single task or id in the place of several, whose characters or fields would be taken for them."""
    if isinstance(many, (str, bytes, bytearray, memoryview, Mapping)) or many is None:
        raise TypeError(f"several {what} are expected, such as a list of them: got {many!r:.100}")


def task_id(raw: bytes) -> str | bytes:
    """The ``id`` of a JSON object that has one, a number as it is spelled, otherwise the whole task."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw
    if text.lstrip(" \t\r\n")[:1] == "{":
        try:
            value: Any = json.loads(
                text, parse_int=_Spelled, parse_float=_Spelled, parse_constant=refuse_constant
            )
        except (ValueError, RecursionError):
            return text
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            return str(value["id"])
    return text


def delayed_member(raw: bytes) -> bytes:
    """A member of the delayed set: a nonce that makes it unique, the task's past, and its bytes."""
    return f"{uuid.uuid4()}|0|0|".encode() + raw


def after_delay(member: bytes) -> bytes:
    """The task in such a member; any other bytes are not to be told from one."""
    parts = member.split(b"|", 3)
    return parts[3] if len(parts) == 4 else member


def has_id(task: dict[Any, Any]) -> bool:
    """Whether an object has an ``id`` that is one of a task. Raises ``TypeError`` for one that JSON would not show as it is."""
    id = task.get("id")
    if id is None or isinstance(id, bool):
        return False
    if isinstance(id, (str, int)):
        return True
    if isinstance(id, float):
        return math.isfinite(id)
    # numpy's numbers
    if hasattr(id, "tolist") and isinstance(id.tolist(), (int, float)):
        return has_id({"id": id.tolist()})
    raise TypeError(f"the id of a task is a text or a number: got {type(id).__name__}, write str(id)")


def refuse_constant(constant: str) -> NoReturn:
    """For ``json.loads``, which would accept NaN."""
    raise ValueError(f"{constant} is not JSON")
