"""What a task says of itself in its field ``millrace``, and what is refused: as `queue/task-options.ts`, in the same words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from ._json import to_json
from .errors import BadTaskOptions, short

_FIRST_MS = 1e11
_LAST_MS = 1e14
"""Times before and after these (the years 1973 and 5138) are in seconds or microseconds."""
_MAX_KEY_BYTES = 200
_MAX_UNIQUE_ID_BYTES = 1_024
_LONGEST_UNIQUE_MS = 365 * 24 * 3_600_000


def check_options(task: object, id: str | bytes) -> None:
    """``task``: as JSON has it. Raises ``BadTaskOptions`` for options that cannot be. A field ``millrace`` that is no object is the task's own business."""
    options = task.get("millrace") if isinstance(task, dict) else None
    if not isinstance(options, dict):
        return
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is None:
            raise BadTaskOptions(
                f'its field "millrace" has "{short(name, 40)}", which means nothing: it may have {", ".join(_CHECKS)} '
                "(a later version may know more: upgrade the workers first)"
            )
        check(value)
    if "unique" in options:
        _check_id(id)
    elif "uniqueForMs" in options:
        raise BadTaskOptions("uniqueForMs is given, and no key: name it in unique")


def refuse_unique(what: str, raw: bytes) -> None:
    """For a queue in partitions: raises ``BadTaskOptions`` if this task, whose options have been checked, has a key. ``what``: the task in a sentence."""
    if b'"unique"' not in raw:
        return
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return  # no JSON, so it says nothing of itself
    options = value.get("millrace") if isinstance(value, dict) else None
    if isinstance(options, dict) and options.get("unique") is not None:
        raise BadTaskOptions(
            f'{what} is unique ("{options["unique"]}"), which a task cannot be in a queue in partitions: its key may be in another one'
        )


def _check_expires_at(value: Any) -> None:
    wanted = "expiresAt is a time in milliseconds since 1970, such as 1796040000000"
    if not _is_number(value):
        raise BadTaskOptions(f"{wanted}: got {_described(value)}")
    if value < 0:
        raise BadTaskOptions(f"{wanted}: got {value}, which is before that")
    if value < _FIRST_MS:
        raise BadTaskOptions(f"{wanted}: got {value}, which would be seconds")
    if value > _LAST_MS:
        raise BadTaskOptions(f"{wanted}: got {value}, which would be microseconds")


def _check_unique(value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise BadTaskOptions(f'unique is a key, a text such as "invoice-42": got {_described(value)}')
    size = len(value.encode(errors="replace"))
    if size > _MAX_KEY_BYTES:
        raise BadTaskOptions(
            f'unique is a key of at most {_MAX_KEY_BYTES} bytes: got {size} ("{value[:40]}…"). Use a hash of it'
        )


def _check_unique_for(value: Any) -> None:
    if not (_is_number(value) and 1 <= value <= _LONGEST_UNIQUE_MS):
        raise BadTaskOptions(
            f"uniqueForMs is a time in milliseconds, from 1 to {_LONGEST_UNIQUE_MS} (a year): got {_described(value)}"
        )


def _check_id(id: str | bytes) -> None:
    size = len(id) if isinstance(id, bytes) else len(id.encode(errors="replace"))
    if isinstance(id, bytes) or size > _MAX_UNIQUE_ID_BYTES:
        raise BadTaskOptions(
            f"a unique task has an id of at most {_MAX_UNIQUE_ID_BYTES} bytes, and this one has {size}. "
            'A task without a field "id" is its own id: give it one'
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _described(value: object) -> str:
    try:
        return short(to_json(value), 80)
    except (TypeError, ValueError):
        return type(value).__name__


_CHECKS: dict[str, Callable[[Any], None]] = {
    "expiresAt": _check_expires_at,
    "unique": _check_unique,
    "uniqueForMs": _check_unique_for,
}
