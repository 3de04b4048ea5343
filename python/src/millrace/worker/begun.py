"""Which tasks have begun, in memory that the worker reads when the process has died (`worker/handlers/begun-tasks.ts`)."""

from __future__ import annotations

import mmap
import os

SLOTS = 1024
"""A task has the one of its number modulo this, and is written there when it begins. A power of two."""
MASK = SLOTS - 1

_VARIABLE = "MILLRACE_BEGUN"
_BYTES = 4


class Begun:
    """The slots: of the worker if ``shared``, otherwise nobody's."""

    def __init__(self) -> None:
        self._memory = _shared_memory()
        self.shared = self._memory is not None
        self.slots = memoryview(self._memory or bytearray(_BYTES * SLOTS)).cast("I")


def _shared_memory() -> mmap.mmap | None:
    """What the worker has opened. An older one has not."""
    # programs that a task starts have no part in it
    descriptor = os.environ.pop(_VARIABLE, None)
    if descriptor is None:
        return None
    try:
        opened = int(descriptor)
        memory = mmap.mmap(opened, _BYTES * SLOTS)
        os.close(opened)
    except (ValueError, OSError):
        return None
    return memory
