"""The names of the keys of a queue, as `queue/keys.ts`, `queue/partitions.ts` and `queue/priorities.ts` make them."""

from __future__ import annotations

import re
import zlib
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from redis.crc import key_slot

MAX_PARTITIONS = 256
LEVELS = ("high", "low")
"""The priorities that have a list of their own."""
Priority: TypeAlias = Literal["high", "normal", "low"]


class Keys(NamedTuple):
    """Of one queue, or of one of its partitions."""

    queue: str
    result: str
    base: str

    def own(self, name: str) -> str:
        """One of Millrace's own keys, in the queue's cluster slot."""
        return f"{self.base}:{name}"


def partitioned_keys(queue: str, result: str, partitions: int) -> list[Keys]:
    """The keys of all partitions; the plain names if there is one.

    Raises ``ValueError`` for names that cannot be, and for a number that is none from 1 to 256.
    """
    if not isinstance(partitions, int) or isinstance(partitions, bool):
        raise TypeError(f"partitions is a number of lists: got {partitions!r:.100}")
    if not 1 <= partitions <= MAX_PARTITIONS:
        raise ValueError(f"a queue has 1 to {MAX_PARTITIONS} partitions: got {partitions}")
    if partitions == 1:
        return [_keys(queue, result)]
    for name in (queue, result):
        if "{" in name:
            raise ValueError(
                f'"{name}" has a "{{", and so not the hash tag of a partition: it cannot have partitions'
            )
    return [_keys(f"{queue}:{{{i}}}", f"{result}:{{{i}}}") for i in range(partitions)]


def level_keys(queue: Keys, level: str) -> Keys:
    """The keys of the list of a priority, in the slot of the queue. Raises ``ValueError`` for names that cannot have one."""
    name = queue.queue
    tagged = re.search(r"\{([^}]*)\}", name)
    if tagged and tagged[1]:
        return _keys(f"{name}:{level}", queue.result)
    if "{" in name or "}" in name:
        raise ValueError(
            f'"{name}" has braces and no hash tag, so no other list can be put into its slot of a Redis Cluster: it cannot have priorities'
        )
    return _keys(f"{{{name}}}:{level}", queue.result)


def partition_of(id: str | bytes, partitions: int) -> int:
    """The partition that a task is pushed to: the CRC-32 of the id's bytes modulo their number."""
    return zlib.crc32(id.encode() if isinstance(id, str) else id) % partitions


def check_url(url: str) -> None:
    """Raises ``ValueError`` for a Redis URL whose parts redis-py would take for others, without showing the password in it."""
    quoted = "special characters of user and password as in urllib.parse.quote(password, safe='')"
    try:
        parts = urlsplit(url)
        wrong = parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise ValueError(f"the Redis URL has no port where it should be: write {quoted}") from None
    # redis-py would leave them out
    if any(not re.fullmatch("[^=]+=.+", option) for option in parts.query.split("&") if option):
        raise ValueError(f"the Redis URL has an option without a value: write it as in ?db=0, and {quoted}")
    # redis-py would use database 0 instead, which may belong to another application
    if parts.scheme in ("redis", "rediss") and (
        parts.fragment or not re.fullmatch(r"/?(\d+/?)?", parts.path)
    ):
        raise ValueError(
            f"the Redis URL names a database that is not a number: write it as in /0, and {quoted}"
        )
    # and the rest of the path
    if parts.scheme == "unix" and (parts.fragment or parts.hostname):
        raise ValueError(
            f"the Redis URL has no path of a socket where it should be: write it as in unix:///tmp/redis.sock, and {quoted}"
        )


def _keys(queue: str, result: str) -> Keys:
    for name in (queue, result):
        if not isinstance(name, str):
            raise TypeError(f"queue and result are texts: got {name!r:.100}")
    if queue == "" or result == "":
        raise ValueError("queue and result must have names: an empty key was given")
    if queue == result:
        raise ValueError(f'queue and result are both "{queue}": a list and a hash need keys of their own')
    return Keys(queue, result, _base(queue))


def _base(queue: str) -> str:
    tagged = re.search(r"\{([^}]*)\}", queue)
    if tagged and tagged[1]:
        return f"millrace:{{{tagged[1]}}}[{queue}]"
    if "}" not in queue:
        return f"millrace:{{{queue}}}"
    slot = key_slot(queue.encode())
    number = 0
    while key_slot(str(number).encode()) != slot:
        number += 1
    return f"millrace:{{{number}}}[{queue}]"
