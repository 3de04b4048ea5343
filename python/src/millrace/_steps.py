"""What a client does, as generators of steps that know nothing of how they are made.

Each yields a step (a command, several at a time, a script, a pause) and gets its reply. So the client that waits and the one of asyncio
(`queue.py`, `aio.py`) are the same but for who makes the steps.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from redis.crc import key_slot

from ._encode import Encoded, after_delay, delayed_member, encode_task, task_id
from ._keys import LEVELS, Keys, level_keys, partition_of, partitioned_keys
from ._options import refuse_unique
from .errors import BadTaskOptions, TaskCancelled, TaskFailed, short

T = TypeVar("T")
Arg: TypeAlias = str | bytes | int | float


ScriptName: TypeAlias = Literal["push", "cancel", "find", "batch-add", "batch-cancel"]


class Commands(NamedTuple):
    """Commands that are sent together. Replies with a list of bytes, numbers, lists and ``None``; if ``tolerant``, errors are among them."""

    commands: Sequence[tuple[Arg, ...]]
    tolerant: bool = False


class Script(NamedTuple):
    """A script of Millrace's, by name."""

    name: ScriptName
    keys: Sequence[str]
    args: Sequence[Arg]


Step: TypeAlias = Commands | Script
Steps: TypeAlias = Generator[Step, Any, T]

# the files of a script that stands in several are joined in this order, as in queue/scripts/lua.ts
_FILES: dict[ScriptName, tuple[str, ...]] = {
    "batch-add": ("batch/numbered", "batch/batches", "batch/add"),
    "batch-cancel": ("shared/once", "batch/numbered", "batch/batches", "batch/cancel"),
    "cancel": ("shared/once", "cancel"),
}


@functools.cache
def source(name: ScriptName) -> tuple[str, str]:
    """A script, and the name that Redis has for it."""
    folder = files(__package__).joinpath("scripts")
    parts = [folder.joinpath(f"{file}.lua").read_text("utf-8") for file in _FILES.get(name, (name,))]
    text = "\n".join(parts)
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


PUSHES_KEPT_S = 3_600
"""How long Redis remembers the pushes of a client, so that one that is sent again is not made twice."""
REFRESH_S = 60
FLOOR_EVERY = 32
BATCH_TASKS = 1_000
BATCH_BYTES = 1 << 20
MARK_KEPT_MS = 7 * 24 * 3_600_000
MOST_MARKS = 100_000
LOOK_AT_TASKS = 2_000
LOOK_AT_BYTES = 4 << 20
RECENT_IDS = 100_000
MOST_ARRIVED = 1_000


class Part:
    """One list of the queue, and the pushes that this client has made to it.

    ``level_of``: it is the list of a priority of that queue, and has its errors there.
    """

    def __init__(self, keys: Keys, is_cluster: bool, level: str = "", level_of: Keys | None = None) -> None:
        self.keys = keys
        self.errors = (level_of or keys).own("errors")
        self._level = level
        self._level_of = level_of
        apart = is_cluster and key_slot(keys.queue.encode()) != key_slot(keys.result.encode())
        self.results_apart = apart
        """The result hash is in another cluster slot."""
        self.result_in_slot = keys.own("result") if apart else keys.result
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.pushes = self.keys.own(f"pushes:{uuid.uuid4()}")
        self._answered: set[int] = set()
        self._last = 0
        self._floor = 0
        self._sent_floor = 0
        self._refreshed_at = -float("inf")
        self.answers = self.keys.own(f"answers:{uuid.uuid4()}")
        self._requests = 0
        self._arrived: list[int] = []

    @property
    def remains(self) -> list[str]:
        """Keys that Redis has for the sake of this client, in this process."""
        if self._pid != os.getpid():
            return []
        return [key for key, used in ((self.pushes, self._last), (self.answers, self._requests)) if used > 0]

    def once(
        self, name: ScriptName, keys: Sequence[str], args: Sequence[Arg], changed: Sequence[int]
    ) -> Steps[int]:
        """Runs a script that stands behind once.lua: sent again, it answers what it did the first time. ``changed``: the replies that are kept."""
        # as for pushes
        if self._pid != os.getpid():
            self._begin()
        self._requests += 1
        number = self._requests
        about = " ".join(str(one) for one in [number, *self._arrived[:MOST_ARRIVED]])
        self._arrived = self._arrived[MOST_ARRIVED:]
        reply: int = yield Script(name, [*keys, self.answers], [*args, about])
        if reply in changed:
            self._arrived.append(number)
        return reply

    def push(self, tasks: Sequence[Encoded], delay_ms: float | None) -> Steps[None]:
        """In order, a few thousand at most: each push has a number, so that it is made once however often it is sent."""
        # a process that was forked off numbers its pushes itself, or Redis would take them for those of its parent, sent again
        if self._pid != os.getpid():
            self._begin()
        self._last += 1
        number = self._last
        if self._floor - self._sent_floor >= FLOOR_EVERY:
            self._sent_floor = self._floor
        now = time.monotonic()
        refresh = now - self._refreshed_at >= REFRESH_S
        if refresh:
            self._refreshed_at = now
        ids = [task.id for task in tasks]
        raws = [task.raw if delay_ms is None else delayed_member(task.raw) for task in tasks]
        about: list[Arg] = [number, self._sent_floor, PUSHES_KEPT_S, delay_ms or "", len(tasks), int(refresh)]
        own = self.keys.own
        keys = [
            self.keys.queue,
            own("delayed"),
            self.result_in_slot,
            self.errors,
            own("cancelled"),
            self.pushes,
        ]
        served: list[Arg] = [self._level_of.own("priorities"), self._level] if self._level_of else []
        try:
            if self.results_apart:
                yield Commands([("HDEL", self.keys.result, *ids)])
            made = yield Script("push", keys, [*about, *ids, *raws, *served])
            if made == -1 and self._level_of:
                raise BadTaskOptions(
                    f'"{self._level_of.queue}" serves no tasks of {self._level} priority, and nothing was pushed: add {self._level} to '
                    f"spec.priorities of its WorkerPool, or start its workers with --priorities {self._level}"
                )
        finally:
            self._answered.add(number)
            while self._floor + 1 in self._answered:
                self._floor += 1
                self._answered.remove(self._floor)

    def cancel(self, id: str | bytes) -> Steps[bool]:
        if self.results_apart:
            [has] = yield Commands([("HEXISTS", self.keys.result, id)])
            if has:
                return False
        own = self.keys.own
        keys = [self.result_in_slot, self.errors, own("cancelled"), own("stats")]
        marked = yield from self.once("cancel", keys, [id, MARK_KEPT_MS, MOST_MARKS], [1])
        return marked == 1

    def has_ended(self, id: str | bytes) -> Steps[bool]:
        replies = yield Commands([("HEXISTS", self.keys.result, id), ("HEXISTS", self.errors, id)])
        return any(replies)

    def holds(self, id: str | bytes) -> Steps[bool]:
        """Whether a task of that id is in flight, or among those looked at of the ones that wait."""
        own = self.keys.own
        args: list[Arg] = [id, own("inflight:"), LOOK_AT_TASKS, LOOK_AT_BYTES]
        found = yield Script("find", [self.keys.queue, own("delayed"), own("load")], args)
        wanted = _bytes(id)
        return any(_bytes(task_id(raw)) == wanted for task in found for raw in (task, after_delay(task)))

    def progress(self, id: str | bytes) -> Steps[Any]:
        [workers] = yield Commands([("HKEYS", self.keys.own("load"))])
        if not workers:
            return None
        progress = self.keys.own("progress:")
        found = yield Commands([("HGET", progress.encode() + worker, id) for worker in workers])
        for report in found:
            if report is not None:
                # what something else has written is none
                with suppress(ValueError, RecursionError):
                    return json.loads(report)
        return None


class Ended(NamedTuple):
    """What has become of a task: a result, or an error."""

    value: bytes | None
    error: TaskFailed | TaskCancelled | None


class Client:
    """A queue's lists, as one."""

    def __init__(self, queue: str, result: str, partitions: int, is_cluster: bool) -> None:
        self.parts = [Part(keys, is_cluster) for keys in partitioned_keys(queue, result, partitions)]
        self._is_cluster = is_cluster
        self._levels: dict[str, Part] = {}
        self.result = result
        self._recent: dict[bytes, None] = {}

    def home(self, id: str | bytes) -> Part:
        return self.parts[partition_of(id, len(self.parts))]

    def _level(self, level: str) -> Part:
        if level not in self._levels:
            queue = self.parts[0].keys
            self._levels[level] = Part(level_keys(queue, level), self._is_cluster, level, queue)
        return self._levels[level]

    def pushed_to(self, priority: str) -> Part | None:
        """The list of a priority; ``None`` where the id chooses it. Raises ``BadTaskOptions``."""
        if priority == "normal":
            return None
        if priority not in LEVELS:
            raise BadTaskOptions(f"a priority is high, normal or low: got {priority!r:.80}")
        if len(self.parts) > 1:
            raise BadTaskOptions(
                f"a queue in partitions has no priorities, and a task of {priority} priority has no place in it: omit the priority, or use one list"
            )
        try:
            return self._level(priority)
        except ValueError as error:
            raise BadTaskOptions(str(error)) from error

    @property
    def opened(self) -> list[Part]:
        return [*self.parts, *self._levels.values()]

    def _with_levels(self) -> Steps[list[Part]]:
        """The queue's lists, with those of its priorities that may hold tasks."""
        if len(self.parts) > 1:
            return self.parts
        [found] = yield Commands([("HKEYS", self.parts[0].keys.own("priorities"))])
        return [*self.parts, *(self._level(level) for level in LEVELS if level.encode() in found)]

    def encode(self, task: object) -> Encoded:
        """See `encode_task`. Raises ``BadTaskOptions`` also for a task that has to be in the only list of its queue."""
        encoded = encode_task(task)
        if len(self.parts) > 1:
            refuse_unique(f"task {short(encoded.id)}", encoded.raw)
        return encoded

    def is_ours(self, id: str | bytes) -> bool:
        """Whether its task is surely in its home: there is no other, or this client has enqueued it."""
        return len(self.parts) == 1 or _bytes(id) in self._recent

    def pushed(self, id: str | bytes) -> None:
        if len(self.parts) == 1:
            return
        self._recent.pop(_bytes(id), None)
        self._recent[_bytes(id)] = None
        if len(self._recent) > RECENT_IDS:
            self._recent.pop(next(iter(self._recent)))

    def batches(
        self, tasks: Iterable[Encoded], only: Part | None = None
    ) -> Generator[tuple[Part, list[Encoded]]]:
        """Cuts tasks into batches of moderate size, each for one list, in order within each. ``only``: all of them for this one."""
        open_: dict[Part, list[Encoded]] = {}
        sizes: dict[Part, int] = {}
        for task in tasks:
            part = only or self.home(task.id)
            batch = open_.setdefault(part, [])
            batch.append(task)
            sizes[part] = sizes.get(part, 0) + len(task.raw)
            if len(batch) >= BATCH_TASKS or sizes[part] >= BATCH_BYTES:
                yield part, open_.pop(part)
                sizes[part] = 0
        yield from open_.items()

    def cancel(self, id: str | bytes) -> Steps[bool]:
        """Marks a task where it is found, or at home; with priorities, in all lists, as it may be further back in any of them."""
        there = yield from self._with_levels()
        if len(there) > len(self.parts):
            found = []
            for part in there:
                if (yield from part.holds(id)):
                    found.append(part)
            marked = False
            for part in found or there:
                marked = (yield from part.cancel(id)) or marked
            return marked
        home = self.home(id)
        others = [] if self.is_ours(id) else [part for part in self.parts if part is not home]
        if not others or (yield from home.has_ended(id)):
            return (yield from home.cancel(id))
        for part in others:
            if (yield from part.holds(id)):
                return (yield from part.cancel(id))
        for part in others:
            # unless it is at home, where an earlier task of that id did not end
            if (yield from part.has_ended(id)) and not (yield from home.holds(id)):
                return False
        return (yield from home.cancel(id))

    def progress(self, id: str | bytes) -> Steps[Any]:
        home = self.home(id)
        there = yield from self._with_levels()
        for part in [home, *(part for part in there if part is not home)]:
            report = yield from part.progress(id)
            if report is not None:
                return report
        return None

    def look_up(self, ids: Sequence[str | bytes], everywhere: bool) -> Steps[dict[str | bytes, Ended]]:
        """Which of these have ended. ``everywhere``: in all lists, not only where the ids belong."""
        places: dict[Part, list[str | bytes]] = {}
        for id in ids:
            for part in self.parts if everywhere and not self.is_ours(id) else [self.home(id)]:
                places.setdefault(part, []).append(id)
        commands: list[tuple[Arg, ...]] = []
        for part, some in places.items():
            commands += [("HMGET", part.keys.result, *some), ("HMGET", part.errors, *some)]
        replies = iter((yield Commands(commands)))
        ended: dict[str | bytes, Ended] = {}
        for some in places.values():
            for id, value, error in zip(some, next(replies), next(replies), strict=True):
                if value is not None:
                    ended[id] = Ended(value, None)
                elif error is not None:
                    ended.setdefault(id, Ended(None, error_of(id, error)))
        return ended


def _bytes(id: str | bytes) -> bytes:
    return id.encode() if isinstance(id, str) else id


def error_of(id: str | bytes, entry: bytes) -> TaskFailed | TaskCancelled:
    """What an entry of the errors says: the header of a dead letter, or a mark of the cancelled; any other text is the error itself."""
    try:
        header = json.loads(entry)
        if header.get("cancelled"):
            return TaskCancelled(id)
        return TaskFailed(id, str(header["error"]), int(header["attempts"]), str(header["worker"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return TaskFailed(id, entry.decode("utf-8", "replace"), 0, "")
