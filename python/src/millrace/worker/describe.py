"""An exception as the worker reports it: a line for people, the traceback for the log."""

from __future__ import annotations

import os
import traceback
from types import TracebackType

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MOST_CAUSES = 4


def describe(error: BaseException) -> tuple[str, str]:
    """The name of the exception, and its message with the place in the user's code and the causes."""
    parts = [_message(error) + _place(error)]
    cause = _cause(error)
    while cause is not None and len(parts) <= _MOST_CAUSES:
        parts.append(f"{_name(cause)}: {_message(cause)}{_place(cause)}")
        cause = _cause(cause)
    return _name(error), "; caused by ".join(parts)


def format_traceback(error: BaseException) -> str:
    """The traceback without the frames of this package."""
    shown = traceback.TracebackException(type(error), error, _own_frames_left_out(error.__traceback__))
    return "".join(shown.format()).rstrip()


def _name(error: BaseException) -> str:
    kind = type(error)
    module = kind.__module__
    own = module in ("builtins", "__main__") or module.startswith("millrace.")
    return kind.__qualname__ if own else f"{module}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error) or "no message"
    except Exception as unreadable:
        return f"its message cannot be read ({type(unreadable).__name__})"


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def _place(error: BaseException) -> str:
    """The innermost place in the user's code, or else the innermost of all."""
    frames = traceback.extract_tb(_own_frames_left_out(error.__traceback__))
    if not frames:
        return ""
    own = [frame for frame in frames if f"{os.sep}site-packages{os.sep}" not in frame.filename]
    at = (own or frames)[-1]
    return f" ({os.path.basename(at.filename)}, line {at.lineno}, in {at.name})"


def _own_frames_left_out(found: TracebackType | None) -> TracebackType | None:
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_OWN):
        found = found.tb_next
    return found
