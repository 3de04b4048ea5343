"""The client of asyncio: `AsyncQueue`, with the same functions as `Queue`."""

from __future__ import annotations

import asyncio
import datetime
import functools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Literal, TypeVar, cast, overload

import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError

from ._encode import Encoded, check_id, check_many
from ._keys import Priority, check_url
from ._results import As, Outcome, Timeout, Waits, check_as, due, outcome, seconds_of
from ._steps import BATCH_TASKS, Client, Commands, Ended, Script, Step, Steps, source
from ._wrong_key import naming_key
from .aio_batches import AsyncBatches, each
from .errors import ResultTimeout
from .queue import DEFAULT_URL, as_bytes, is_async

T = TypeVar("T")


class AsyncQueue:
    """As `Queue`, for one event loop. All waits share one reader, so that thousands of them cost Redis little.

    ``redis``: a URL, or a client of ``redis.asyncio``, which stays open when the queue is closed.
    """

    def __init__(
        self,
        redis: str | redis.asyncio.Redis | RedisCluster = DEFAULT_URL,
        queue: str = "task_queue",
        result: str = "result",
        partitions: int = 1,
    ) -> None:
        self._redis, self._owned = _connect(redis)
        self._client = Client(queue, result, partitions, isinstance(self._redis, RedisCluster))
        self._waits = Waits()
        self._futures: dict[str | bytes, list[asyncio.Future[Ended]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._added = asyncio.Event()
        self.batch = AsyncBatches(self._client, self._run)
        """Begins a batch, and returns what became of it."""

    async def enqueue(
        self,
        task: object,
        *,
        delay: float | datetime.timedelta | None = None,
        at: datetime.datetime | None = None,
        priority: Priority = "normal",
    ) -> str | bytes:
        """See `Queue.enqueue`."""
        only = self._client.pushed_to(priority)
        encoded = self._client.encode(task)
        pushing = (only or self._client.home(encoded.id)).push([encoded], due(delay, at))
        await self._run(naming_key(self._client, pushing))
        self._client.pushed(encoded.id)
        return encoded.id

    async def enqueue_many(
        self,
        tasks: Iterable[object] | AsyncIterable[object],
        *,
        delay: float | datetime.timedelta | None = None,
        at: datetime.datetime | None = None,
        priority: Priority = "normal",
    ) -> list[str | bytes]:
        """See `Queue.enqueue_many`; the tasks may come from an async iterator."""
        check_many(tasks, "tasks")
        ids: list[str | bytes] = []
        delayed = due(delay, at)
        only = self._client.pushed_to(priority)

        async def push(tasks: list[Encoded]) -> None:
            for part, batch in self._client.batches(tasks, only):
                await self._run(
                    naming_key(
                        self._client,
                        part.push(batch, delayed),
                        harm="tasks before these may have been pushed",
                    )
                )
            for one in tasks:
                ids.append(one.id)
                self._client.pushed(one.id)

        pending: list[Encoded] = []
        # as many as fill a batch of each list
        enough = BATCH_TASKS * len(self._client.parts)
        async for task in each(tasks):
            pending.append(self._client.encode(task))
            if len(pending) >= enough:
                await push(pending)
                pending = []
        await push(pending)
        return ids

    @overload
    async def result(
        self, id: str | bytes, timeout: Timeout = None, *, as_: Literal["json"] = "json"
    ) -> Any: ...
    @overload
    async def result(self, id: str | bytes, timeout: Timeout = None, *, as_: Literal["text"]) -> str: ...
    @overload
    async def result(self, id: str | bytes, timeout: Timeout = None, *, as_: Literal["bytes"]) -> bytes: ...
    async def result(self, id: str | bytes, timeout: Timeout = None, *, as_: As = "json") -> Any:
        """See `Queue.result`. Any number of these may wait at the same time."""
        check_id(id)
        check_as(as_)
        seconds = seconds_of(timeout)
        future = self._wait_for(id)
        try:
            ended = await asyncio.wait_for(future, seconds)
        except (TimeoutError, asyncio.TimeoutError):
            raise ResultTimeout(id, seconds or 0) from None
        finally:
            self._forget(id, future)
        return outcome(id, ended, as_).get()

    async def results(
        self, ids: Iterable[str | bytes], timeout: Timeout = None, *, as_: As = "json"
    ) -> AsyncIterator[Outcome]:
        """See `Queue.results`."""
        check_many(ids, "ids")
        check_as(as_)
        seconds = seconds_of(timeout)
        ended: asyncio.Queue[tuple[str | bytes, asyncio.Future[Ended]]] = asyncio.Queue()
        futures = {id: self._wait_for(id) for id in ids}
        for id, future in futures.items():
            future.add_done_callback(functools.partial(_put, ended, id))
        loop = asyncio.get_running_loop()
        deadline = None if seconds is None else loop.time() + seconds
        try:
            while futures:
                left = None if deadline is None else max(0.0, deadline - loop.time())
                cancels = _cancels()
                try:
                    id, future = await asyncio.wait_for(ended.get(), left)
                except (TimeoutError, asyncio.TimeoutError):
                    raise ResultTimeout(next(iter(futures)), seconds or 0) from None
                _raise_lost(cancels)
                futures.pop(id)
                yield outcome(id, future.result(), as_)
        finally:
            for id, future in futures.items():
                self._forget(id, future)

    async def progress(self, id: str | bytes) -> Any:
        """See `Queue.progress`."""
        check_id(id)
        return await self._run(naming_key(self._client, self._client.progress(id)))

    async def cancel(self, id: str | bytes) -> bool:
        """See `Queue.cancel`."""
        check_id(id)
        return await self._run(naming_key(self._client, self._client.cancel(id)))

    async def close(self) -> None:
        """Ends all waits, and closes the connections, unless they are of a client that was passed in."""
        if self._reading is not None:
            self._reading.cancel()
        for futures in list(self._futures.values()):
            for future in futures:
                future.cancel()
        for part in self._client.opened:
            for key in part.remains:
                try:
                    await self._redis.unlink(key)
                except RedisError:
                    pass  # it expires by itself
        if self._owned:
            await self._redis.aclose()

    async def __aenter__(self) -> AsyncQueue:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _wait_for(self, id: str | bytes) -> asyncio.Future[Ended]:
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(id, []).append(future)
        self._waits.add(id)
        self._added.set()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return future

    def _forget(self, id: str | bytes, future: asyncio.Future[Ended]) -> None:
        future.cancel()
        waiting = self._futures.get(id)
        if waiting is None or future not in waiting:
            return
        waiting.remove(future)
        if not waiting:
            del self._futures[id]
            self._waits.discard(id)

    async def _read(self) -> None:
        """Looks up results for as long as there are waits."""
        while self._waits:
            self._added.clear()
            try:
                ended = await self._run(
                    naming_key(
                        self._client, self._client.look_up(self._waits.next(), self._waits.everywhere())
                    )
                )
            except Exception as error:
                # each caller decides whether to wait on
                for id in list(self._futures):
                    self._waits.discard(id)
                    for future in self._futures.pop(id):
                        if not future.done():
                            future.set_exception(error)
                continue
            self._waits.found(ended)
            for id, one in ended.items():
                for future in self._futures.pop(id, []):
                    if not future.done():
                        future.set_result(one)
            if self._waits and not ended:
                try:
                    await asyncio.wait_for(self._added.wait(), self._waits.pause())
                except (TimeoutError, asyncio.TimeoutError):
                    pass

    async def _run(self, steps: Steps[T]) -> T:
        reply: Any = None
        error: Exception | None = None
        while True:
            try:
                step = steps.throw(error) if error else steps.send(reply)
            except StopIteration as done:
                return cast(T, done.value)
            error = None
            cancels = _cancels()
            try:
                reply = as_bytes(await self._make(step))
            except Exception as failed:
                error = failed
            _raise_lost(cancels)

    async def _make(self, step: Step) -> Any:
        if isinstance(step, Script):
            return await self._script(step)
        return await self._commands(step)

    async def _commands(self, step: Commands) -> list[Any]:
        if len(step.commands) == 1:
            return [await self._redis.execute_command(*step.commands[0])]  # type: ignore[no-untyped-call]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in step.commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=not step.tolerant)

    async def _script(self, step: Script) -> Any:
        keys_and_args = [*step.keys, *step.args]
        text, sha = source(step.name)
        try:
            return await self._redis.evalsha(sha, len(step.keys), *keys_and_args)
        except NoScriptError:
            return await self._redis.eval(text, len(step.keys), *keys_and_args)


def _cancels() -> int:
    """How often the current task was cancelled, where Python tells it (3.11)."""
    cancelling: Callable[[], int] | None = getattr(asyncio.current_task(), "cancelling", None)
    return 0 if cancelling is None else cancelling()


def _raise_lost(before: int) -> None:
    """Until Python 3.12, ``asyncio.wait_for`` loses a cancellation that comes when what it waits for has just ended, and redis-py sends commands
    by it: what was cancelled would go on for ever."""
    if _cancels() > before:
        raise asyncio.CancelledError


def _put(
    ended: asyncio.Queue[tuple[str | bytes, asyncio.Future[Ended]]],
    id: str | bytes,
    future: asyncio.Future[Ended],
) -> None:
    ended.put_nowait((id, future))


def _connect(address: str | redis.asyncio.Redis | RedisCluster) -> tuple[redis.asyncio.Redis, bool]:
    if isinstance(address, str):
        check_url(address)
        return redis.asyncio.Redis.from_url(address), True
    if is_async(address) is not True:
        raise TypeError(
            "an AsyncQueue takes a URL, a redis.asyncio.Redis or a redis.asyncio.RedisCluster: "
            f"got {address!r:.100}, a {type(address).__module__}.{type(address).__name__}"
        )
    # a client of a cluster has the same commands
    return cast("redis.asyncio.Redis", address), False
