"""An epidemic, many times over: the SIR model with chance, in numpy."""

from __future__ import annotations

import numpy as np

from millrace import Context, FinalError, task

PEOPLE = 100_000
INFECTED_AT_FIRST = 100
DAYS_INFECTIOUS = 5.0
MOST_DAYS = 2_000


@task
def epidemic(r0: float, vaccinated: float, seed: int, context: Context, runs: int = 100) -> dict[str, float]:
    """What share of all people falls ill, over many runs: the mean, and the middle nine tenths."""
    if r0 < 0 or not 0 <= vaccinated < 1:
        raise FinalError(f"there is no epidemic with r0 = {r0} and a share of {vaccinated} vaccinated")
    rng = np.random.default_rng([seed, int(1e6 * r0), int(1e6 * vaccinated)])
    susceptible = np.full(runs, int(PEOPLE * (1 - vaccinated)) - INFECTED_AT_FIRST)
    infected = np.full(runs, INFECTED_AT_FIRST)
    at_first = susceptible.copy()
    peak = infected.copy()
    recovery = -np.expm1(-1 / DAYS_INFECTIOUS)
    for day in range(MOST_DAYS):
        if not infected.any() or context.cancelled:
            break
        # a day: each infected person meets others, and recovers with a constant chance
        risk = -np.expm1(-r0 * recovery * infected / PEOPLE)
        caught = rng.binomial(susceptible, risk)
        recovered = rng.binomial(infected, recovery)
        susceptible -= caught
        infected += caught - recovered
        peak = np.maximum(peak, infected)
        if day % 100 == 0:
            context.progress({"day": day})
    ill = (at_first - susceptible) / PEOPLE
    return {
        "ill": ill.mean(),
        "ill_p05": np.quantile(ill, 0.05),
        "ill_p95": np.quantile(ill, 0.95),
        "peak": peak.mean() / PEOPLE,
    }
