"""When a process is replaced, and how large a result may be."""

from __future__ import annotations

import resource
import sys
from typing import NamedTuple


class Limits(NamedTuple):
    """What ``millrace-worker`` passes on of its flags."""

    max_tasks: int | None
    max_memory: int | None
    max_result: int

    def are_reached(self, served: int) -> bool:
        """Whether the process is to be replaced after that many tasks."""
        if self.max_tasks is not None and served >= self.max_tasks:
            return True
        return self.max_memory is not None and _peak_memory() > self.max_memory


def _peak_memory() -> int:
    """The most memory that this process has used, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
