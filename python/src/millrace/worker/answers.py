"""What becomes of a task, as it is sent: its result, or why there is none."""

from __future__ import annotations

import socket
import sys
from typing import NoReturn

from .._json import to_json, utf8
from ..errors import FinalError
from . import frames
from .describe import describe, format_traceback
from .target import Work


class ResultError(FinalError):
    """The task ran, but its result cannot be stored."""


def refuse_arguments(work: Work) -> None:
    """A call that the function's parameters do not allow fails for good: it always will."""
    function, args, kwargs = work
    name = function.name or function.call
    more = {"context": None} if function.takes_context else {}
    if more.keys() & kwargs:
        raise FinalError(f"{name} does not take these arguments: the worker gives it its context")
    try:
        function.signature.bind(*args, **kwargs, **more)
    except TypeError as mismatch:
        raise FinalError(f"{name} does not take these arguments: {mismatch}") from None


_WORD = 1 << 63


def encoded(value: object, most: int) -> bytes:
    """A result as it is stored: text and bytes as they are, anything else as JSON. Raises ``ResultError`` if that is beyond ``most``."""
    # what most small functions return; the encoder takes five times as long
    if type(value) is int and -_WORD < value < _WORD:
        body = repr(value).encode()
    else:
        body = b"null" if value is None else _encoded(value)
    if len(body) > most:
        raise ResultError(
            f"the result is too large: it has {len(body)} bytes, and at most {most} are allowed here; "
            "store it elsewhere and return a reference"
        )
    return body


def _encoded(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise ResultError(
                f"the result cannot be stored: it is a text that is not Unicode ({error.reason})"
            ) from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return utf8(to_json(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultError(f"the result cannot be stored as JSON: {error}") from None


def error_body(error: BaseException) -> bytes:
    """An exception as JSON."""
    name, message = describe(error)
    found: dict[str, object] = {"name": name, "error": message}
    if not isinstance(error, FinalError):
        found["traceback"] = format_traceback(error)
    if getattr(error, "retry", None) is False:
        found["retry"] = False
    seconds = getattr(error, "retry_after", None)
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds >= 0:
        found["retryAfter"] = seconds * 1_000
        found.pop("traceback", None)
    return to_json(found).encode(errors="replace")


def fail_to_load(channel: socket.socket, error: BaseException, message: str, traceback: str) -> NoReturn:
    """Reports why the target cannot be loaded, and ends the process."""
    body = to_json({"name": type(error).__name__, "error": message, "traceback": traceback}).encode(
        errors="replace"
    )
    channel.sendall(frames.answer(frames.ERROR, 0, True, body))
    sys.exit(1)
