"""Every point of a grid is a task; what comes back is a table.

Usage: sweep.py [points on each axis] [file]. Redis is where MILLRACE_REDIS_URL says, or redis://localhost:6379.
"""

from __future__ import annotations

import csv
import os
import sys
import time

import numpy as np
from model import epidemic

from millrace import Queue

COLUMNS = ["r0", "vaccinated", "ill", "ill_p05", "ill_p95", "peak"]


def main() -> None:
    """Makes the grid a batch, and writes the table when all of its points are there."""
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    path = sys.argv[2] if len(sys.argv) > 2 else "sweep.csv"
    grid = [(r0, share) for r0 in np.linspace(0.5, 5, points) for share in np.linspace(0, 0.9, points)]
    with Queue(os.environ.get("MILLRACE_REDIS_URL", "redis://localhost:6379")) as queue:
        batch = queue.batch((epidemic.call(r0, share, seed=1) for r0, share in grid), on_failure="cancel")
        follow(queue, batch.id)
        # in the order of the grid
        found = [outcome.get() for outcome in queue.batch.results(batch.id)]
    rows = [{"r0": r0, "vaccinated": share, **point} for (r0, share), point in zip(grid, found, strict=True)]
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({name: f"{value:.4f}" for name, value in row.items()} for row in rows)
    print(f"{len(rows)} rows are in {path}")


def follow(queue: Queue, id: str) -> None:
    """Shows how far the batch is, until it has ended. Ends the program if a point has failed."""
    while (view := queue.batch.show(id)) and not view.is_over:
        if sys.stderr.isatty():
            print(f"\r{view.succeeded} of {view.size} points", end="", file=sys.stderr, flush=True)
        time.sleep(0.1)
    if view and view.why is not None:
        sys.exit(view.why)


if __name__ == "__main__":
    main()
