"""Millrace for Python: enqueue tasks and wait for their results, or write the functions that run them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .errors import (
    BadBatch,
    BadTaskOptions,
    BatchCancelled,
    BatchExists,
    BatchTimeout,
    FinalError,
    Interrupted,
    MillraceError,
    NoBatch,
    NotEnded,
    NotJson,
    ResultTimeout,
    RetryAfter,
    TaskCancelled,
    TaskFailed,
    WrongKeyType,
)
from .tasks import Call, Context, Parts, Task, task

if TYPE_CHECKING:
    from ._batches import Batch, BatchView, nested
    from ._results import Outcome
    from .aio import AsyncQueue
    from .queue import Queue

__version__ = "0.1.0"

__all__ = [
    "AsyncQueue",
    "BadBatch",
    "BadTaskOptions",
    "Batch",
    "BatchCancelled",
    "BatchExists",
    "BatchTimeout",
    "BatchView",
    "Call",
    "Context",
    "FinalError",
    "Interrupted",
    "MillraceError",
    "NoBatch",
    "NotEnded",
    "NotJson",
    "Outcome",
    "Parts",
    "Queue",
    "ResultTimeout",
    "RetryAfter",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "WrongKeyType",
    "__version__",
    "nested",
    "task",
]

# The client needs redis-py, which takes longer to import than all else here. A worker's processes do without.
_LAZY = {
    "AsyncQueue": "aio",
    "Batch": "_batches",
    "BatchView": "_batches",
    "Outcome": "_results",
    "Queue": "queue",
    "nested": "_batches",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
