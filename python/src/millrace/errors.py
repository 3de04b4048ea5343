"""What can go wrong, on either side."""

from __future__ import annotations


class MillraceError(Exception):
    """The errors of this package."""


class TaskFailed(MillraceError):
    """The task failed for good: it is among the dead letters."""

    def __init__(self, id: str | bytes, error: str, attempts: int, worker: str) -> None:
        super().__init__(f"task {short(id)} failed for good: {error}")
        self.id = id
        self.error = error
        self.attempts = attempts
        self.worker = worker


class TaskCancelled(MillraceError):
    """The task was cancelled."""

    def __init__(self, id: str | bytes) -> None:
        super().__init__(f"task {short(id)} was cancelled")
        self.id = id


class ResultTimeout(MillraceError, TimeoutError):
    """There is no result yet; it may still come."""

    def __init__(self, id: str | bytes, seconds: float) -> None:
        super().__init__(f"no result of task {short(id)} within {seconds:g} s: it may still come")
        self.id = id


class NotJson(MillraceError, ValueError):
    """The result is not JSON: read it as text or bytes."""

    def __init__(self, id: str | bytes) -> None:
        super().__init__(
            f"the result of task {short(id)} is not JSON: read it with as_='text' or as_='bytes'"
        )
        self.id = id


class WrongKeyType(MillraceError):
    """Something else has written a key that Millrace needs."""

    def __init__(self, key: str, wanted: str, found: str, harm: str = "nothing was touched") -> None:
        super().__init__(
            f'the key "{key}" is not {wanted} (it is {found}): {harm}; use another key, or remove that one'
        )
        self.key = key


class BadBatch(MillraceError, ValueError):
    """A batch that cannot be: the message says why, and what to do."""


class BadTaskOptions(MillraceError, ValueError):
    """Options of a task, its field ``millrace``, that cannot be: the message says why, and what to do."""


class BatchExists(MillraceError):
    """A batch with this id exists, or existed within the last week."""

    def __init__(self, id: str) -> None:
        super().__init__(
            f'a batch "{id}" exists already, or ended within the last week: choose another id, or none'
        )
        self.id = id


class BatchCancelled(MillraceError):
    """The batch was cancelled, or a part of it failed, while parts were still being added to it."""

    def __init__(self, id: str, why: str) -> None:
        super().__init__(
            f'batch "{id}" ended while parts were being added to it, the rest was not pushed: {why}'
        )
        self.id = id
        self.why = why


class NoBatch(MillraceError, LookupError):
    """There is no batch of that id."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no batch {short(id)}: it never began, or ended more than a week ago")
        self.id = id


class BatchTimeout(MillraceError, TimeoutError):
    """The batch has not ended; it may still."""

    def __init__(self, id: str, seconds: float, about: str) -> None:
        super().__init__(f"batch {short(id)} has not ended within {seconds:g} s: {about}")
        self.id = id


class NotEnded(MillraceError):
    """A part of a batch has no result yet."""

    def __init__(self, id: str | bytes) -> None:
        super().__init__(f"part {short(id)} has not ended: it has no result yet")
        self.id = id


class FinalError(MillraceError):
    """Raise it in a task that can never succeed: it fails for good, without further attempts.

    Any exception with ``retry = False`` does the same.
    """

    retry = False


class RetryAfter(MillraceError):
    """Raised by ``context.retry_after``: ends the attempt, and says when the next one is due.

    Any exception with ``retry_after``, in seconds, does the same.
    """

    def __init__(self, seconds: float, reason: str = "retry requested") -> None:
        super().__init__(reason)
        self.retry_after = seconds


class Interrupted(BaseException):
    """Raised inside a function that goes on a second after its result was no longer wanted.

    It is no ``Exception``, so that ``except Exception`` does not catch it.
    """


def short(id: str | bytes, longest: int = 100) -> str:
    """An id for messages."""
    text = id if isinstance(id, str) else id.decode("utf-8", "replace")
    return text if len(text) <= longest else f"{text[:longest]}…"
