"""Batches, as generators of steps: their parts are added a chunk at a time, so that a client needs no more memory for a million of them
than for a thousand. Chunks are numbered, and each is added once, even if a connection breaks before Redis has replied.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from ._encode import Encoded, check_many, check_text
from ._pack import pack
from ._parts import (
    OnFailure,
    Then,
    check_batch_id,
    check_part_id,
    check_policy,
    encode_part,
    encode_then,
)
from ._results import As, Outcome, check_as, outcome
from ._steps import Arg, Client, Commands, Ended, Part, Script, Steps, error_of
from .errors import BadBatch, BatchCancelled, BatchExists, MillraceError, NotEnded, short

Tasks: TypeAlias = Iterable[object] | AsyncIterable[object]
TasksT = TypeVar("TasksT", bound=Tasks)

BatchState: TypeAlias = Literal["adding", "running", "ended", "failing", "failed", "cancelling", "cancelled"]
Cancelled: TypeAlias = Literal["cancelled", "over", "unknown"]

CHUNK_TASKS = 1_000
CHUNK_BYTES = 1 << 20
PAGE = 500
LONGEST_PAUSE_S = 0.25
"""Between two looks at a batch that is waited for."""


class Batch(NamedTuple):
    """A batch of which all parts have been added."""

    id: str
    size: int
    """Number of its parts, each id once."""
    then: str | None
    """Id of the task that follows, for `Queue.result`."""


class BatchView(NamedTuple):
    """How far a batch is."""

    id: str
    state: BatchState
    """``adding``: its client has not added all parts yet. ``running``. ``ended``: all parts have ended, and ``then`` was pushed.
    ``failing``, ``cancelling``: what is left is being cancelled. ``failed``, ``cancelled``: it is over, without ``then``."""
    size: int
    succeeded: int
    failed: int
    """Failed for good."""
    cancelled: int
    waiting: int
    """Dead letters that it waits for."""
    left: int
    """Parts that have not ended."""
    on_failure: OnFailure
    then: str | None
    """Id of the task that follows."""
    why: str | None
    """Why it was cancelled, or which part failed."""
    created_at: float
    """Seconds since 1970, by the clock of Redis."""
    ended_at: float | None

    @property
    def is_over(self) -> bool:
        """Whether all of its parts have ended."""
        return self.state in ("ended", "failed", "cancelled")


class Nested(Generic[TasksT]):
    """A batch that is a part of another one: see `nested`."""

    def __init__(self, tasks: TasksT, then: object, on_failure: OnFailure, id: str | None) -> None:
        self.tasks = tasks
        self.then = then
        self.on_failure = on_failure
        self.id = id


def nested(
    tasks: TasksT, *, then: object, on_failure: OnFailure = "wait", id: str | None = None
) -> Nested[TasksT]:
    """A batch as a part of another one, in the place of a task: it has ended when its ``then`` task has, whose result is that of the part.

    Its id is by default that of the outer one with the number of the part.
    """
    return Nested(tasks, then, on_failure, id)


class PartIds:
    """The ids of a batch's parts while they are added, as `queue/batches/part-ids.ts` keeps them: of several with one id, the first is added."""

    def __init__(self, batch: str) -> None:
        self._prefix = f"{batch}:"
        self._given: set[str | bytes] = set()
        self._own_at: set[int] = set()

    def add(self, number: int, id: str | bytes) -> bool:
        """``number``: of the part, from 0. Returns whether no part before it has the id."""
        own = id != f"{self._prefix}{number}"
        if own:
            self._own_at.add(number)
        if id in self._given or (own and self._is_made_before(number, id)):
            return False
        if own:
            self._given.add(id)
        return True

    def _is_made_before(self, number: int, id: str | bytes) -> bool:
        """Whether an earlier part was given this id, because it had none."""
        if not isinstance(id, str) or not id.startswith(self._prefix):
            return False
        digits = id[len(self._prefix) :]
        if not (digits.isascii() and digits.isdigit() and len(digits) < 16) or str(int(digits)) != digits:
            return False
        return int(digits) < number and int(digits) not in self._own_at


class Adder:
    """Adds one batch. Raises ``BadBatch``, ``BatchExists`` and ``BatchCancelled``."""

    def __init__(
        self, part: Part, id: str, policy: str, then: Then | None, is_random: bool, joins: bool = False
    ) -> None:
        """``joins``: ``then`` becomes a part of its batch in the step that begins this one."""
        self.id = id
        self._part = part
        self._then = then
        self._adder = str(uuid.uuid4())
        outer = then.outer if then else None
        self._about = pack(
            {
                "policy": policy,
                "then": then.raw if then else None,
                "thenId": then.id if then else None,
                "thenBatch": outer.batch if outer else None,
                "thenSize": outer.size if outer else None,
                "joins": 1 if joins else None,
                "unique": 1,
                "resultName": part.keys.result,
            }
        )
        self._ids = PartIds(id)
        self._tasks: list[Encoded] = []
        self._bytes = 0
        self._count = 0
        self._number = 0
        self._size = 0
        self._begun = is_random
        """Whether there may be a batch of this id that is surely this one."""

    def put(self, task: object) -> bool:
        """Keeps a part for the next `flush`. Returns whether that is due."""
        encoded = encode_part(self.id, task, self._next_id())
        if not self._ids.add(self._count - 1, encoded.id):
            return False
        self._tasks.append(encoded)
        self._bytes += len(encoded.raw)
        return len(self._tasks) >= CHUNK_TASKS or self._bytes >= CHUNK_BYTES

    def flush(self, last: bool = False) -> Steps[None]:
        """Sends what is kept."""
        tasks, self._tasks, self._bytes = self._tasks, [], 0
        self._number += 1
        ids: list[Arg] = [task.id for task in tasks]
        part = self._part
        if part.results_apart and ids:
            # those of another batch of this id stay
            if self._number == 1:
                [holder] = yield Commands([("HGET", part.keys.own(f"batch:{self.id}"), "adder")])
                if holder is not None and holder != self._adder.encode():
                    self._check([-1])
            yield Commands([("HDEL", part.keys.result, *ids)])
        about: list[Arg] = [self.id, self._adder, self._number, int(last), self._about, len(ids), len(tasks)]
        own = part.keys.own
        keys = [part.keys.queue, part.result_in_slot, own("errors"), own("cancelled"), own("stats")]
        reply = yield Script("batch-add", keys, [*about, *ids, *(task.raw for task in tasks)])
        self._check(reply)
        self._size = reply[0]

    def nest(self, inner: Nested[Any]) -> Steps[Adder]:
        """What adds a batch that is a part of this one: the step that begins it makes its ``then`` a part."""
        fallback_id = self._next_id()
        id = check_batch_id(fallback_id if inner.id is None else inner.id)
        if inner.then is None:
            raise BadBatch(
                f'batch "{id}" inside of batch "{self.id}" has no "then": its result is that of the part'
            )
        check_tasks(inner.tasks)
        policy = check_policy(id, inner.on_failure)
        plain = encode_then(id, inner.then)
        part = encode_part(self.id, plain.raw, f"{id}:then")
        then = encode_then(id, part.raw.decode())
        check_part_id(self.id, then.id)
        if not self._ids.add(self._count - 1, then.id):
            raise BadBatch(
                f'"then" of batch "{id}" has the id of another part of batch "{self.id}", "{short(then.id)}": give it one of its own'
            )
        if self._tasks or self._number == 0:
            yield from self.flush()
        return Adder(self._part, id, policy, then, False, joins=True)

    def check_open(self) -> Steps[None]:
        """Raises ``BatchCancelled`` if no more parts are wanted."""
        [(state, why)] = yield Commands([("HMGET", self._part.keys.own(f"batch:{self.id}"), "state", "why")])
        if state:
            raise BatchCancelled(self.id, (why or b"it was cancelled").decode(errors="replace"))

    def end(self) -> Steps[Batch]:
        """All parts have been put."""
        if self._count == 0:
            raise BadBatch(f'batch "{self.id}" has no parts: it needs one at least')
        yield from self.flush(last=True)
        return Batch(self.id, self._size, self._then.id if self._then else None)

    def abandon(self) -> Steps[None]:
        """Cancels what has been added."""
        if self._begun:
            yield from cancel_batch(self._part, self.id, "its client failed to add all of its parts")

    def _next_id(self) -> str:
        self._count += 1
        return f"{self.id}:{self._count - 1}"

    def _check(self, reply: Any) -> None:
        if reply[0] == -1:
            self._begun = False
            raise BatchExists(self.id)
        if reply[0] == -4:
            raise BadBatch(
                f'batch "{self.id}" cannot begin in a queue that is being moved (millrace move), '
                "because its parts would be counted in two places: begin it in the new place"
            )
        self._begun = True
        if reply[0] == -2:
            raise BatchCancelled(self.id, reply[1].decode(errors="replace"))
        if reply[0] == -3:
            raise MillraceError(
                f'Redis has lost parts of batch "{self.id}": it went back to an older state. Begin it again under another id'
            )


def check_tasks(tasks: object) -> None:
    """Raises ``BadBatch`` for a single task in the place of several."""
    try:
        check_many(tasks, "tasks")
    except TypeError as error:
        raise BadBatch(str(error)) from None


def begin(client: Client, tasks: object, then: object, on_failure: OnFailure, id: str | None) -> Adder:
    """What adds a batch. Raises ``BadBatch``."""
    check_tasks(tasks)
    part = only_part(client)
    name = check_batch_id(str(uuid.uuid4()) if id is None else id)
    check_text(name)
    policy = check_policy(name, on_failure)
    return Adder(part, name, policy, None if then is None else encode_then(name, then), id is None)


def only_part(client: Client) -> Part:
    """The queue's only list. Raises ``ValueError`` if it has several."""
    if len(client.parts) == 1:
        return client.parts[0]
    raise ValueError(
        "a queue in partitions has no batches, because their parts would be counted on several servers: "
        "use a queue without partitions for them"
    )


_FIELDS = (
    "size", "policy", "open", "state", "done", "failed", "cancelled", "thenId", "why", "created", "endedAt",
)  # fmt: skip


def show_batch(part: Part, id: str) -> Steps[BatchView | None]:
    """``None`` if there is no batch of that id, or it ended more than a week ago."""
    check_batch_id(id)
    [view] = yield from _show(part, [id])
    return view


def _show(part: Part, ids: Sequence[str]) -> Steps[list[BatchView | None]]:
    own = part.keys.own
    commands: list[tuple[Arg, ...]] = []
    for id in ids:
        commands += [("HMGET", own(f"batch:{id}"), *_FIELDS), ("SCARD", own(f"batch-failed:{id}"))]
    replies = iter((yield Commands(commands)))
    return [_view(id, next(replies), next(replies)) for id in ids]


def _view(id: str, values: list[bytes | None], dead: int) -> BatchView | None:
    texts = (None if value is None else value.decode(errors="replace") for value in values)
    fields = dict(zip(_FIELDS, texts, strict=True))
    if fields["size"] is None:
        return None

    def count(name: str) -> int:
        return int(fields[name] or 0)

    size, succeeded, failed, cancelled = (count(name) for name in ("size", "done", "failed", "cancelled"))
    policy: Any = fields["policy"] or "wait"
    state: Any = fields["state"] or ("running" if fields["open"] is None else "adding")
    waits = policy == "wait" and state in ("running", "adding")
    return BatchView(
        id=id,
        state=state,
        size=size,
        succeeded=succeeded,
        failed=failed,
        cancelled=cancelled,
        waiting=dead if waits else 0,
        left=max(0, size - succeeded - failed - cancelled),
        on_failure=policy,
        then=fields["thenId"],
        why=fields["why"],
        created_at=count("created") / 1_000,
        ended_at=None if fields["endedAt"] is None else count("endedAt") / 1_000,
    )


def list_batches(part: Part, most: int) -> Steps[list[BatchView]]:
    """Those that are open, the newest first, and after them those that ended within the last week, the last one first."""
    [ids] = yield Commands([("ZRANGE", part.keys.own("batches"), 0, most - 1, "REV")])
    found: list[BatchView] = []
    for start in range(0, len(ids), PAGE):
        views = yield from _show(part, [id.decode(errors="replace") for id in ids[start : start + PAGE]])
        found += [view for view in views if view is not None]
    # the open ones come by their ids
    return sorted(found, key=lambda view: (view.is_over, 0 if view.is_over else -view.created_at))


def cancel_batch(part: Part, id: str, why: str = "it was cancelled") -> Steps[Cancelled]:
    """``unknown``: there is none of that id."""
    check_batch_id(id)
    keys = [part.keys.queue, part.result_in_slot, part.keys.own("stats")]
    reply = yield Script("batch-cancel", keys, [id, why])
    return "cancelled" if reply == 1 else "over" if reply == 0 else "unknown"


def page_of_results(part: Part, id: str, start: int, as_: As) -> Steps[list[Outcome]]:
    """The outcomes of some parts, in the order in which they were added; none after the last one."""
    check_as(as_)
    own = part.keys.own
    [ids] = yield Commands([("LRANGE", own(f"batch-ids:{id}"), start, start + PAGE - 1)])
    if not ids:
        return []
    values, errors = yield Commands(
        [("HMGET", part.keys.result, *ids), ("HMGET", own("errors"), *ids)],
    )
    return [_outcome(*found, as_) for found in zip(ids, values, errors, strict=True)]


def _outcome(raw_id: bytes, value: bytes | None, error: bytes | None, as_: As) -> Outcome:
    id = raw_id.decode(errors="replace")
    if value is not None:
        return outcome(id, Ended(value, None), as_)
    return Outcome(id, None, NotEnded(id) if error is None else error_of(id, error))


def describe(view: BatchView) -> str:
    """Why it has not ended."""
    waits = f", of which {view.waiting} failed and wait to be requeued" if view.waiting else ""
    return f"it is {view.state}, and {view.left} of {view.size} parts are left{waits}"
