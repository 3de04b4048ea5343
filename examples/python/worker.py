"""A kept-running worker: one line of JSON in, one line of JSON out, for as long as stdin is open.

The work: the Lyapunov exponent of the logistic map x → r·x·(1 − x), which says whether the sequence is chaotic (> 0) or
settles down (< 0). A sweep over thousands of values of r is what such a pool is for.
"""

import json
import math
import sys

STEPS = 20_000
WARM_UP = 1_000


def exponent(r):
    x, total = 0.4, 0.0
    for step in range(WARM_UP + STEPS):
        x = r * x * (1 - x)
        if step >= WARM_UP:
            total += math.log(max(abs(r * (1 - 2 * x)), 1e-300))
    return total / STEPS


def answer(task):
    try:
        r = float(json.loads(task)["r"])
    except (ValueError, TypeError, KeyError) as error:
        return {"error": f"this is no task: {error!r}", "retry": False}
    if not 0 <= r <= 4:
        return {"error": f"r must be from 0 to 4, and is {r}", "retry": False}
    return {"result": {"r": r, "exponent": round(exponent(r), 4)}}


for line in sys.stdin:
    message = json.loads(line)
    print(json.dumps({"id": message["id"], **answer(message["task"])}), flush=True)
