"""Names the key of a queue that is of another type, where Redis only says that one is: as `queue/wrong-key.ts`."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

from ._steps import Client, Commands, Steps
from .errors import WrongKeyType

T = TypeVar("T")

_OF_BATCH = {
    "batch": "hash",
    "batch-left": "set",
    "batch-numbered": "hash",
    "batch-ended": "set",
    "batch-failed": "set",
    "batch-ids": "list",
    "batch-inner": "set",
    "batch-known": "set",
    "batch-shares": "set",
    "batch-spawned": "list",
}
_OF_QUEUE = {
    "load": "hash",
    "priorities": "hash",
    "delayed": "zset",
    "errors": "hash",
    "stats": "hash",
    "cancelled": "zset",
    "batches": "zset",
    "shares": "zset",
    "batch-reports": "hash",
}
_NAMES = {"list": "a list", "hash": "a hash", "zset": "a sorted set", "string": "a string", "set": "a set"}


def naming_key(
    client: Client, steps: Steps[T], batch: str | None = None, harm: str = "nothing was touched"
) -> Steps[T]:
    """These steps, about a batch if it is named. Raises ``WrongKeyType`` where Redis says that a key is of another type."""
    try:
        return (yield from steps)
    except Exception as error:
        if "WRONGTYPE" not in str(error):
            raise
        wrong = None
        # a user that may not ask for types is told what Redis says
        with suppress(Exception):
            wrong = yield from _find_wrong_key(client, batch, harm)
        if wrong is None:
            raise
        raise wrong from error


def _find_wrong_key(client: Client, batch: str | None, harm: str) -> Steps[WrongKeyType | None]:
    for part in client.opened:
        keys = (
            []
            if batch is None
            else [(part.keys.own(f"{name}:{batch}"), type) for name, type in _OF_BATCH.items()]
        )
        keys += [(part.keys.own(name), type) for name, type in _OF_QUEUE.items()]
        keys += [(part.keys.queue, "list"), (part.keys.result, "hash")]
        found = yield Commands([("TYPE", key) for key, _ in keys])
        for (key, type), is_ in zip(keys, (reply.decode() for reply in found), strict=True):
            if is_ not in ("none", type):
                return WrongKeyType(key, _NAMES[type], _NAMES.get(is_, f"of the type {is_}"), harm)
    return None
