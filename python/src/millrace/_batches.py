"""Batches, as generators of steps: their parts are added a chunk at a time, so that a client needs no more memory for a million of them
than for a thousand. Chunks are numbered, and each is added once, even if a connection breaks before Redis has replied.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from ._encode import Encoded, check_many, check_text
from ._options import refuse_unique
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
from ._steps import Arg, Client, Commands, Ended, Part, Script, Steps
from ._wrong_key import naming_key
from .errors import BadBatch, BatchCancelled, BatchExists, MillraceError, NotEnded, short

Tasks: TypeAlias = Iterable[object] | AsyncIterable[object]
TasksT = TypeVar("TasksT", bound=Tasks)

BatchState: TypeAlias = Literal["adding", "running", "ended", "failing", "failed", "cancelling", "cancelled"]
Cancelled: TypeAlias = Literal["cancelled", "over", "unknown"]

CHUNK_TASKS = 1_000
CHUNK_BYTES = 1 << 20
MOST_CHUNKS = 8
"""In partitions a chunk is divided among them."""
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


class Record:
    """What one partition, or the only list, knows of a batch while it is added."""

    def __init__(self, part: Part, id: str, adder: str, about: dict[str, Any], begun: bool = False) -> None:
        """``adder``: known to this client only. ``begun``: there may be a batch of this id that is surely this one."""
        self.begun = begun
        self.stopped = False
        self.size = 0
        self._part = part
        self._id = id
        self._adder = adder
        self._about = pack({**about, "unique": 1})
        self._number = 0

    def send(
        self, tasks: Sequence[Encoded], last: bool, whole: bytes | None = None, first: int | None = None
    ) -> Steps[None]:
        """Adds a chunk. ``whole``: the shares that begin, and the ids of parts in all partitions. ``first``: the number of the first part, if
        the ids have numbers that follow one another."""
        self._number += 1
        ids: list[Arg] = [task.id for task in tasks]
        part = self._part
        if part.results_apart and ids:
            # those of another batch of this id stay
            if self._number == 1:
                [holder] = yield Commands([("HGET", part.keys.own(f"batch:{self._id}"), "adder")])
                if holder is not None and holder != self._adder.encode():
                    self._check([-1])
            yield Commands([("HDEL", part.keys.result, *ids)])
        counts: list[Arg] = [len(ids), len(tasks), "" if first is None else first]
        about: list[Arg] = [self._id, self._adder, self._number, int(last), self._about, *counts]
        own = part.keys.own
        keys = [part.keys.queue, part.result_in_slot, own("errors"), own("cancelled"), own("stats")]
        raws: list[Arg] = [task.raw for task in tasks]
        reply = yield Script("batch-add", keys, [*about, *ids, *raws, *([] if whole is None else [whole])])
        self._check(reply)
        self.size = reply[0]

    def _check(self, reply: Any) -> None:
        if reply[0] == -1:
            self.begun = False
            raise BatchExists(self._id)
        if reply[0] == -4:
            raise BadBatch(
                f'batch "{self._id}" cannot begin in a queue that is being moved (millrace move), '
                "because its parts would be counted in two places: begin it in the new place"
            )
        self.begun = True
        if reply[0] == -2:
            self.stopped = True
            raise BatchCancelled(self._id, reply[1].decode(errors="replace"))
        if reply[0] == -3:
            raise MillraceError(
                f'Redis has lost parts of batch "{self._id}": it went back to an older state. Begin it again under another id'
            )


class Adder:
    """Adds one batch. Raises ``BadBatch``, ``BatchExists`` and ``BatchCancelled``.

    In a queue in partitions, each part goes to the list that its id chooses; one partition has the whole batch, the others that get parts a
    share of it, as `queue/batches/chunks.ts` does it.
    """

    def __init__(
        self, client: Client, id: str, policy: str, then: Then | None, is_random: bool, joins: bool = False
    ) -> None:
        """``joins``: ``then`` becomes a part of its batch in the step that begins this one."""
        self.id = id
        self._client = client
        self._then = then
        self._policy = policy
        self._adder = str(uuid.uuid4())
        self._home = whole_of(client, id)
        self._is_spread = len(client.parts) > 1
        if then is not None and self._is_spread:
            refuse_unique(f'"then" of batch "{id}"', then.raw)
        outer = then.outer if then else None
        about: dict[str, Any] = {
            "policy": policy,
            "then": then.raw if then else None,
            "thenId": then.id if then else None,
            "thenBatch": outer.batch if outer else None,
            "thenSize": outer.size if outer else None,
            "joins": 1 if joins else None,
            "resultName": client.result,
        }
        if self._is_spread:
            about |= {"role": "whole", "partitions": len(client.parts), "homeResult": self._home.keys.result}
        self._whole = Record(self._home, id, self._adder, about, is_random)
        self._shares: dict[Part, Record] = {}
        self._ids = PartIds(id)
        self._tasks: list[Encoded] = []
        self._first: int | None = None
        """The number of the first task, while all have numbers that follow one another."""
        self._bytes = 0
        self._count = 0
        self._size = 0
        self._is_first = True

    def put(self, task: object) -> bool:
        """Keeps a part for the next `flush`. Returns whether that is due."""
        fallback_id = self._next_id()
        encoded = encode_part(self.id, task, fallback_id)
        if self._is_spread:
            refuse_unique(f'part {short(encoded.id)} of batch "{self.id}"', encoded.raw)
        if not self._ids.add(self._count - 1, encoded.id):
            return False
        number = self._count - 1 if encoded.id == fallback_id else None
        if not self._tasks:
            self._first = number
        elif self._first is not None and number != self._first + len(self._tasks):
            self._first = None
        self._tasks.append(encoded)
        self._bytes += len(encoded.raw)
        most = min(len(self._client.parts), MOST_CHUNKS)
        return len(self._tasks) >= most * CHUNK_TASKS or self._bytes >= most * CHUNK_BYTES

    def flush(self, last: bool = False) -> Steps[None]:
        """Sends what is kept."""
        tasks, self._tasks, self._bytes = self._tasks, [], 0
        is_first, self._is_first = self._is_first, False
        if not self._is_spread:
            sending = self._whole.send(tasks, last, first=self._first)
            yield from (sending if tasks or is_first else _unless_over(sending))
            self._size = self._whole.size
            return
        groups: dict[Part, list[Encoded]] = {}
        for task in tasks:
            groups.setdefault(self._client.home(task.id), []).append(task)
        mine = groups.pop(self._home, [])
        if is_first or tasks:
            yield from self._announce(mine, list(groups), [task.id for task in tasks])
        for part, some in groups.items():
            sending = self._share(part).send(some, last)
            yield from (_unless_over(sending) if last else sending)
        if last:
            for part, record in self._shares.items():
                if part not in groups:
                    yield from _unless_over(record.send([], True))
            yield from _unless_over(self._whole.send([], True))

    def _announce(
        self, mine: Sequence[Encoded], to: Sequence[Part], ids: Sequence[str | bytes]
    ) -> Steps[None]:
        """Lists ids in the whole, and expects the shares that begin."""
        begin = [part.keys.queue for part in to if part not in self._shares]
        yield from self._whole.send(mine, False, pack({"shares": begin, "ids": ids}))
        self._size += len(ids)

    def _share(self, part: Part) -> Record:
        if part not in self._shares:
            about: dict[str, Any] = {
                "policy": self._policy,
                "resultName": self._client.result,
                "role": "share",
                "home": self._home.keys.queue,
                "homeResult": self._home.keys.result,
            }
            self._shares[part] = Record(part, self.id, self._adder, about)
        return self._shares[part]

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
        if self._tasks or self._is_first:
            yield from self.flush()
        if self._is_spread:
            at = whole_of(self._client, id)
            yield from self._announce([], [] if at is self._home else [at], [then.id])
            if at is not self._home and at not in self._shares:
                yield from self._share(at).send([], False)
        return Adder(self._client, id, policy, then, False, joins=True)

    def check_open(self) -> Steps[None]:
        """Raises ``BatchCancelled`` if no more parts are wanted."""
        [(state, why)] = yield Commands([("HMGET", self._home.keys.own(f"batch:{self.id}"), "state", "why")])
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
        # a share that refuses more tells the whole why
        if self._whole.begun and not any(one.stopped for one in [self._whole, *self._shares.values()]):
            yield from _cancel_in(self._home, self.id, "its client failed to add all of its parts")

    def _next_id(self) -> str:
        self._count += 1
        return f"{self.id}:{self._count - 1}"


def _unless_over(sending: Steps[None]) -> Steps[None]:
    """A batch that fails or is cancelled while its last parts arrive has them all, as in the only list, where they arrive in one step."""
    try:
        yield from sending
    except BatchCancelled:
        pass


def check_tasks(tasks: object) -> None:
    """Raises ``BadBatch`` for a single task in the place of several."""
    try:
        check_many(tasks, "tasks")
    except TypeError as error:
        raise BadBatch(str(error)) from None


def begin(client: Client, tasks: object, then: object, on_failure: OnFailure, id: str | None) -> Adder:
    """What adds a batch. Raises ``BadBatch``."""
    check_tasks(tasks)
    name = check_batch_id(str(uuid.uuid4()) if id is None else id)
    check_text(name)
    policy = check_policy(name, on_failure)
    return Adder(client, name, policy, None if then is None else encode_then(name, then), id is None)


def whole_of(client: Client, id: str) -> Part:
    """Where a batch is counted as a whole: the partition of the ``then`` task, unless that has an id of its own."""
    return client.home(f"{id}:then")


def _find(client: Client, id: str) -> Steps[Part | None]:
    """The partition that has the batch, and not a share of it."""
    check_batch_id(id)
    if len(client.parts) == 1:
        return client.parts[0]
    roles = yield Commands([("HMGET", part.keys.own(f"batch:{id}"), "size", "role") for part in client.parts])
    for part, (size, role) in zip(client.parts, roles, strict=True):
        if size is not None and role != b"share":
            return part
    return None


_FIELDS = (
    "size", "policy", "open", "state", "done", "failed", "cancelled", "thenId", "why", "created", "endedAt",
    "partitions",
)  # fmt: skip


def show_batch(client: Client, id: str) -> Steps[BatchView | None]:
    """``None`` if there is no batch of that id, or it ended more than a week ago."""
    return (yield from naming_key(client, _show_one(client, id), id))


def _show_one(client: Client, id: str) -> Steps[BatchView | None]:
    part = yield from _find(client, id)
    if part is None:
        return None
    [view] = yield from _show(client, part, [id])
    return view


def _show(
    client: Client, part: Part, ids: Sequence[str], tolerant: bool = False
) -> Steps[list[BatchView | None]]:
    """If ``tolerant``, a batch of which a key has another type is none."""
    own = part.keys.own
    commands: list[tuple[Arg, ...]] = []
    for id in ids:
        commands += [
            ("HMGET", own(f"batch:{id}"), *_FIELDS),
            ("SCARD", own(f"batch-failed:{id}")),
            ("SMEMBERS", own(f"batch-shares:{id}")),
        ]
    replies = iter((yield Commands(commands, tolerant)))
    views: list[BatchView | None] = []
    for id in ids:
        values, dead, shares = next(replies), next(replies), next(replies)
        if any(_has_other_type(reply) for reply in (values, dead, shares)):
            views.append(None)
            continue
        view = _view(id, values, dead)
        if view is not None and shares:
            view = yield from _with_shares(client, view, {name.decode() for name in shares})
        views.append(view)
    return views


def _has_other_type(reply: object) -> bool:
    """Whether the key that was asked for has another type. Raises any other error."""
    if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
        raise reply
    return isinstance(reply, Exception)


def _with_shares(client: Client, view: BatchView, names: set[str]) -> Steps[BatchView]:
    """With the counts of its shares that have not ended; those of the others are in its own. Raises ``ValueError`` for one that is not known."""
    unknown = min(names - {part.keys.queue for part in client.parts}, default=None)
    if unknown is not None:
        raise ValueError(
            f'partition "{unknown}" of batch "{view.id}" is not among the {len(client.parts)} that this client knows: '
            "open the queue with the number of partitions that it has"
        )
    commands: list[tuple[Arg, ...]] = []
    for part in client.parts:
        if part.keys.queue in names:
            own = part.keys.own
            commands += [
                ("HMGET", own(f"batch:{view.id}"), *_FIELDS),
                ("SCARD", own(f"batch-failed:{view.id}")),
            ]
    replies = iter((yield Commands(commands)))
    for values in replies:
        share = _view(view.id, values, next(replies))
        if share is not None:
            sums = {name: getattr(view, name) + getattr(share, name) for name in _SUMS}
            view = view._replace(**sums)
    return view


_SUMS = ("size", "succeeded", "failed", "cancelled", "waiting", "left")


def _view(id: str, values: list[bytes | None], dead: int) -> BatchView | None:
    texts = (None if value is None else value.decode(errors="replace") for value in values)
    fields = dict(zip(_FIELDS, texts, strict=True))
    if fields["size"] is None:
        return None

    def count(name: str) -> int:
        return _count(fields[name])

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


def _count(text: str | bytes | None) -> int:
    """A count as anyone may have written it; 0 for what is none."""
    return int(text) if text is not None and text.isdigit() and text.isascii() and len(text) <= 15 else 0


def list_batches(client: Client, most: int) -> Steps[list[BatchView]]:
    """Those that are open, the newest first, and after them those that ended within the last week, the last one first."""
    found: list[BatchView] = []
    for part in client.parts:
        [ids] = yield Commands([("ZRANGE", part.keys.own("batches"), 0, most - 1, "REV")])
        for start in range(0, len(ids), PAGE):
            page = [id.decode(errors="replace") for id in ids[start : start + PAGE]]
            views = yield from _show(client, part, page, tolerant=True)
            found += [view for view in views if view is not None]
    # the open ones come by their ids
    found.sort(key=lambda view: (view.is_over, -(view.ended_at or 0) if view.is_over else -view.created_at))
    return found[:most]


def cancel_batch(client: Client, id: str) -> Steps[Cancelled]:
    """``unknown``: there is none of that id."""
    return (yield from naming_key(client, _cancel_one(client, id), id))


def _cancel_one(client: Client, id: str) -> Steps[Cancelled]:
    part = yield from _find(client, id)
    return "unknown" if part is None else (yield from _cancel_in(part, id, "it was cancelled"))


def _cancel_in(part: Part, id: str, why: str) -> Steps[Cancelled]:
    """Workers tell the other partitions, if there are any."""
    keys = [part.keys.queue, part.result_in_slot, part.keys.own("stats")]
    reply = yield from part.once("batch-cancel", keys, [id, why], [1, 2])
    return "over" if reply == 0 else "unknown" if reply == -1 else "cancelled"


def page_of_results(client: Client, id: str, start: int, as_: As) -> Steps[list[Outcome]]:
    """The outcomes of some parts, in the order in which they were added; none after the last one."""
    return (yield from naming_key(client, _page_of_results(client, id, start, as_), id))


def _page_of_results(client: Client, id: str, start: int, as_: As) -> Steps[list[Outcome]]:
    check_as(as_)
    part = yield from _find(client, id)
    if part is None:
        return []
    [raws] = yield Commands([("LRANGE", part.keys.own(f"batch-ids:{id}"), start, start + PAGE - 1)])
    ids = [_text_if_any(raw) for raw in raws]
    ended = yield from client.look_up(ids, everywhere=False)
    # tasks that tasks have added are where those are
    missing = [one for one in ids if one not in ended]
    if missing and len(client.parts) > 1:
        ended |= yield from client.look_up(missing, everywhere=True)
    if len(ended) < len(set(ids)):
        yield from _check_partitions(client, part, id)
    return [_outcome(one, ended.get(one), as_) for one in ids]


def _check_partitions(client: Client, whole: Part, id: str) -> Steps[None]:
    """Raises ``ValueError`` if results may be in partitions that this client does not know."""
    [found] = yield Commands([("HGET", whole.keys.own(f"batch:{id}"), "partitions")])
    if _count(found) > len(client.parts):
        raise ValueError(
            f'batch "{id}" is in {_count(found)} partitions, and this client knows {len(client.parts)}: '
            "open the queue with the number of partitions that it has"
        )


def _text_if_any(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _outcome(name: str | bytes, ended: Ended | None, as_: As) -> Outcome:
    id = name if isinstance(name, str) else name.decode(errors="replace")
    if ended is None:
        return Outcome(id, None, NotEnded(id))
    if ended.value is not None:
        return outcome(id, ended, as_)
    return Outcome(id, None, ended.error)


def describe(view: BatchView) -> str:
    """Why it has not ended."""
    waits = f", of which {view.waiting} failed and wait to be requeued" if view.waiting else ""
    return f"it is {view.state}, and {view.left} of {view.size} parts are left{waits}"
