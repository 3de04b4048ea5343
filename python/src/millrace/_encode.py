"""A task as bytes, and the id under which its result is stored, as `queue/task.ts` finds it."""

from __future__ import annotations

import json
import math
import uuid
from typing import Any, NamedTuple, NoReturn

from ._json import to_json


class Encoded(NamedTuple):
    """A task to be pushed."""

    id: str | bytes
    raw: bytes


class _Spelled(str):
    """A number as the JSON spells it: 12345678901234567890 and 1.0 do not survive a double."""


def encode_task(task: object) -> Encoded:
    """Text and bytes as they are, anything else as JSON; an object without an ``id`` gets one.

    Raises ``TypeError`` or ``ValueError`` for what JSON cannot express.
    """
    if isinstance(task, str):
        raw = task.encode()
    elif isinstance(task, (bytes, bytearray, memoryview)):
        raw = bytes(task)
    else:
        if isinstance(task, dict) and not _has_id(task):
            task = {"id": str(uuid.uuid4()), **{key: value for key, value in task.items() if key != "id"}}
        raw = to_json(task).encode()
    return Encoded(task_id(raw), raw)


def task_id(raw: bytes) -> str | bytes:
    """The ``id`` of a JSON object that has one, a number as it is spelled, otherwise the whole task."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw
    if text.lstrip(" \t\r\n")[:1] == "{":
        try:
            value: Any = json.loads(text, parse_int=_Spelled, parse_float=_Spelled, parse_constant=_refuse)
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


def _has_id(task: dict[Any, Any]) -> bool:
    id = task.get("id")
    if isinstance(id, bool):
        return False
    return isinstance(id, (str, int)) or (isinstance(id, float) and math.isfinite(id))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
