"""`context.spawn`: the tasks that a function adds, as `worker/task/spawn.ts` takes them, and in the same words."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from ._encode import Encoded, encode_task, has_id
from ._json import json_object, to_json
from ._parts import encode_part, mark_of
from .errors import short

MAX_TASKS = 1_000
MAX_BYTES = 1 << 20
LONG_ID = 100


class Spawned:
    """What one attempt at a task adds. ``value``: the task, parsed."""

    def __init__(self, id: str | bytes, value: object) -> None:
        mark = mark_of(value)
        self._batch = mark.batch if mark else None
        self._mark_bytes = len(to_json({"batch": {"id": mark.batch}}).encode()) if mark else 0
        self._id = _prefix(id)
        self._count = 0
        self._bytes = 0

    def add(self, tasks: Iterable[object]) -> list[Encoded]:
        """Encodes them; the worker marks those that are parts. If it raises, none of them counts."""
        added: list[Encoded] = []
        size = self._bytes
        for task in tasks:
            one = self._encode(task, f"{self._id}/{self._count + len(added)}")
            size += len(one.raw) + self._mark_bytes
            if self._count + len(added) >= MAX_TASKS or size > MAX_BYTES:
                raise ValueError(
                    f"a task can add {MAX_TASKS} tasks of {MAX_BYTES} bytes in all: let one of these add the others"
                )
            added.append(one)
        self._count += len(added)
        self._bytes = size
        return added

    def _encode(self, task: object, fallback_id: str) -> Encoded:
        if self._batch is not None:
            return encode_part(self._batch, task, fallback_id, marked=False)
        value = json_object(task)
        if isinstance(value, dict) and not has_id(value):
            return encode_task({**value, "id": fallback_id})
        return encode_task(task)


def _prefix(id: str | bytes) -> str:
    """What the ids of added tasks begin with; of a long id, or bytes, with a digest, so that no two tasks share one."""
    if isinstance(id, str) and len(id) <= LONG_ID:
        return id
    digest = hashlib.sha256(id if isinstance(id, bytes) else id.encode(errors="replace")).digest()
    return f"{short(id)}{base64.urlsafe_b64encode(digest).decode()[:22]}"
