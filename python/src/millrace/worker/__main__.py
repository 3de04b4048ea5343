"""``python -m millrace.worker module:function``, as ``millrace-worker --python`` starts it. Its socket is descriptor 3."""

from __future__ import annotations

import argparse
import io
import os
import socket
import sys

from .. import __version__
from .._json import to_json
from . import frames
from .answers import fail_to_load
from .begun import Begun
from .describe import describe, format_traceback
from .limits import Limits
from .runner import Runner
from .target import LoadError, Target

CHANNEL = 3


def main() -> None:
    """Loads the target, says so, and runs its tasks."""
    parser = argparse.ArgumentParser("millrace.worker", description="Started by millrace-worker --python.")
    parser.add_argument("target", help="module:function, or module")
    parser.add_argument("--max-result", type=int, default=512 << 20)
    parser.add_argument("--max-tasks", type=int)
    parser.add_argument("--max-memory", type=int)
    flags = parser.parse_args()
    try:
        channel = socket.socket(fileno=CHANNEL)
    except OSError:
        parser.error("millrace-worker starts this program: run millrace-worker --python instead")
    # programs that a task starts must not keep it open
    os.set_inheritable(CHANNEL, False)
    begun = Begun()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        target = Target(flags.target)
    except LoadError as error:
        fail_to_load(channel, error, str(error), "")
    except (Exception, SystemExit) as error:
        name, message = describe(error)
        module = flags.target.partition(":")[0]
        fail_to_load(
            channel, error, f"module {module} does not load: {name}: {message}", format_traceback(error)
        )
    hello = {
        "protocol": frames.PROTOCOL,
        "version": __version__,
        "many": True,
        "ids": target.takes_context,
        "begun": begun.shared,
    }
    channel.sendall(frames.frame(frames.HELLO, 0, to_json(hello).encode()))
    Runner(channel, target, Limits(flags.max_tasks, flags.max_memory, flags.max_result), begun).run()


if __name__ == "__main__":
    main()
