"""The client that waits: `Queue`."""

from __future__ import annotations

import datetime
import inspect
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Literal, TypeVar, cast, overload

import redis
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError

from ._encode import check_id, check_many
from ._keys import Priority, check_url
from ._results import As, Outcome, Timeout, Waits, check_as, due, outcome, seconds_of
from ._steps import Client, Commands, Script, Step, Steps, source
from ._wrong_key import naming_key
from .batches import Batches

T = TypeVar("T")

DEFAULT_URL = "redis://localhost:6379"


class Queue:
    """A queue: enqueues tasks and waits for their results. Threads may share one.

    ``redis``: a URL, or a client of redis-py (``redis.Redis`` or ``redis.cluster.RedisCluster``), which stays open when the queue is
    closed. ``partitions``: the number of lists that the queue is in, if it is in several. Raises ``ValueError`` for names that cannot be.
    """

    def __init__(
        self,
        redis: str | redis.Redis | RedisCluster = DEFAULT_URL,
        queue: str = "task_queue",
        result: str = "result",
        partitions: int = 1,
    ) -> None:
        self._redis, self._owned = _connect(redis)
        self._client = Client(queue, result, partitions, isinstance(self._redis, RedisCluster))
        self._lock = threading.Lock()
        _open.add(self)
        self.batch = Batches(self._client, self._run)
        """Begins a batch, and returns what became of it."""

    def enqueue(
        self,
        task: object,
        *,
        delay: float | datetime.timedelta | None = None,
        at: datetime.datetime | None = None,
        priority: Priority = "normal",
    ) -> str | bytes:
        """Adds one task and returns its id: a text, or for a binary task its bytes.

        Text and bytes are pushed as they are, anything else as JSON; an object without an ``id`` gets one. What an earlier task of
        that id left is deleted. ``delay`` (in seconds) and ``at``: run it no earlier. ``priority``: "high" is before all tasks of normal
        priority, "low" after them; ``BadTaskOptions`` where the queue's workers do not serve it.
        """
        only = self._client.pushed_to(priority)
        encoded = self._client.encode(task)
        pushing = (only or self._client.home(encoded.id)).push([encoded], due(delay, at))
        self._run(naming_key(self._client, pushing))
        self._client.pushed(encoded.id)
        return encoded.id

    def enqueue_many(
        self,
        tasks: Iterable[object],
        *,
        delay: float | datetime.timedelta | None = None,
        at: datetime.datetime | None = None,
        priority: Priority = "normal",
    ) -> list[str | bytes]:
        """Adds many tasks in batches, in order, and returns their ids."""
        check_many(tasks, "tasks")
        ids = []

        def encoded() -> Iterator[Any]:
            for task in tasks:
                one = self._client.encode(task)
                ids.append(one.id)
                yield one

        delayed = due(delay, at)
        only = self._client.pushed_to(priority)
        for part, batch in self._client.batches(encoded(), only):
            self._run(
                naming_key(
                    self._client, part.push(batch, delayed), harm="tasks before these may have been pushed"
                )
            )
            for one in batch:
                self._client.pushed(one.id)
        return ids

    @overload
    def result(self, id: str | bytes, timeout: Timeout = None, *, as_: Literal["json"] = "json") -> Any: ...
    @overload
    def result(self, id: str | bytes, timeout: Timeout = None, *, as_: Literal["text"]) -> str: ...
    @overload
    def result(self, id: str | bytes, timeout: Timeout = None, *, as_: Literal["bytes"]) -> bytes: ...
    def result(self, id: str | bytes, timeout: Timeout = None, *, as_: As = "json") -> Any:
        """Waits for a result and returns it, parsed as JSON unless ``as_`` says otherwise.

        Raises ``TaskFailed`` when the task failed for good, ``TaskCancelled`` when it was cancelled, ``ResultTimeout`` after
        ``timeout``, in seconds or a timedelta, ``NotJson`` when the result is not JSON.
        """
        check_id(id)
        [found] = self.results([id], timeout, as_=as_)
        return found.get()

    def results(
        self, ids: Iterable[str | bytes], timeout: Timeout = None, *, as_: As = "json"
    ) -> Iterator[Outcome]:
        """The outcomes of these tasks, each as soon as it is there. A task that failed is an outcome with an ``error``.

        Raises ``ResultTimeout`` when not all are there after ``timeout``, in seconds or a timedelta.
        """
        check_many(ids, "ids")
        check_as(as_)
        waits = Waits(ids, seconds_of(timeout))
        while waits:
            ended = self._run(
                naming_key(self._client, self._client.look_up(waits.next(), waits.everywhere()))
            )
            waits.found(ended)
            for id, one in ended.items():
                yield outcome(id, one, as_)
            if waits and not ended:
                time.sleep(waits.pause())

    def progress(self, id: str | bytes) -> Any:
        """The last report of the task's function; ``None`` if it is not running, or has reported nothing."""
        check_id(id)
        return self._run(naming_key(self._client, self._client.progress(id)))

    def cancel(self, id: str | bytes) -> bool:
        """Cancels a task: one that waits is not run, one that runs is interrupted. Returns ``False`` if it has ended already.

        ``True`` does not mean that there is such a task: a mark that meets none expires after a week.
        """
        check_id(id)
        return self._run(naming_key(self._client, self._client.cancel(id)))

    def close(self) -> None:
        """Closes the connections, unless they are of a client that was passed in."""
        for part in self._client.opened:
            for key in part.remains:
                try:
                    self._redis.unlink(key)
                except RedisError:
                    pass  # it expires by itself
        if self._owned:
            self._redis.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        reply: Any = None
        error: Exception | None = None
        while True:
            try:
                # what a client remembers of its pushes is changed in between
                with self._lock:
                    step = steps.throw(error) if error else steps.send(reply)
            except StopIteration as done:
                return cast(T, done.value)
            error = None
            try:
                reply = self._make(step)
            except Exception as failed:
                error = failed

    def _make(self, step: Step) -> Any:
        if isinstance(step, Commands):
            return as_bytes(self._commands(step))
        return as_bytes(self._script(step))

    def _commands(self, step: Commands) -> list[Any]:
        if len(step.commands) == 1:
            return [self._redis.execute_command(*step.commands[0])]  # type: ignore[no-untyped-call]
        with self._redis.pipeline(transaction=False) as pipeline:
            for command in step.commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipeline.execute(raise_on_error=not step.tolerant)

    def _script(self, step: Script) -> Any:
        keys_and_args = [*step.keys, *step.args]
        text, sha = source(step.name)
        try:
            return self._redis.evalsha(sha, len(step.keys), *keys_and_args)
        except NoScriptError:
            return self._redis.eval(text, len(step.keys), *keys_and_args)


_open: weakref.WeakSet[Queue] = weakref.WeakSet()


def _after_fork() -> None:
    # another thread may have held it, which the new process does not have
    for queue in _open:
        queue._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _connect(address: str | redis.Redis | RedisCluster) -> tuple[redis.Redis, bool]:
    if isinstance(address, str):
        check_url(address)
        return redis.Redis.from_url(address), True
    if is_async(address) is not False:
        raise TypeError(
            f"a Queue takes a URL, a redis.Redis or a RedisCluster: got {address!r:.100}, a {type(address).__module__}.{type(address).__name__}"
        )
    # a client of a cluster has the same commands
    return cast("redis.Redis", address), False


def is_async(client: object) -> bool | None:
    """Whether a client of Redis is one of asyncio; ``None`` for what is no client."""
    execute = getattr(client, "execute_command", None)
    return inspect.iscoroutinefunction(execute) if callable(execute) else None


def as_bytes(reply: Any) -> Any:
    """A reply as of a client without ``decode_responses``."""
    if isinstance(reply, str):
        return reply.encode("utf-8", "surrogateescape")
    if isinstance(reply, list):
        return [as_bytes(part) for part in reply]
    return reply
