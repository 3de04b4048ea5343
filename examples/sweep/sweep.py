"""Every point of a grid is a task; what comes back is a table.

Usage: sweep.py [points on each axis] [file]. Redis is where MILLRACE_REDIS_URL says, or redis://localhost:6379.
"""

from __future__ import annotations

import csv
import os
import sys

import numpy as np
from model import epidemic

from millrace import Queue

COLUMNS = ["r0", "vaccinated", "ill", "ill_p05", "ill_p95", "peak"]


def main() -> None:
    """Enqueues the grid, and writes the table as its points come."""
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    path = sys.argv[2] if len(sys.argv) > 2 else "sweep.csv"
    grid = [(r0, share) for r0 in np.linspace(0.5, 5, points) for share in np.linspace(0, 0.9, points)]
    with Queue(os.environ.get("MILLRACE_REDIS_URL", "redis://localhost:6379")) as queue:
        ids = queue.enqueue_many(epidemic.call(r0, share, seed=1) for r0, share in grid)
        at = dict(zip(ids, grid, strict=True))
        rows = []
        for done, outcome in enumerate(queue.results(ids), 1):
            if outcome.error is not None:
                sys.exit(f"{at[outcome.id]}: {outcome.error}")
            r0, share = at[outcome.id]
            rows.append({"r0": r0, "vaccinated": share, **outcome.value})
            if sys.stderr.isatty():
                print(f"\r{done} of {len(ids)} points", end="", file=sys.stderr, flush=True)
    rows.sort(key=lambda row: (row["r0"], row["vaccinated"]))
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({name: f"{value:.4f}" for name, value in row.items()} for row in rows)
    print(f"{len(rows)} rows are in {path}")


if __name__ == "__main__":
    main()
