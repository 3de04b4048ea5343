#!/usr/bin/env bash
# A request that a fixed window refuses uses up what was left of it, for requests that would have fitted
#
# Guess    With 8 of 10 used, a request of cost 5 is refused and changes nothing, so one of cost 2 is still allowed: check, then take, in
#          one step. So it is with the moving window and the token bucket of the same libraries, which one chooses by precision and cost.
# Truth    The fixed window of limits (Flask-Limiter, slowapi), of throttled-py and of rate-limiter-flexible adds first and then compares.
#          The refused 5 stays in the count, and the 2 is refused until the window ends, in memory and in Redis. A client that tries
#          once with a large batch and then with a smaller one gets nothing; change the strategy, and it does.
# Versions limits 5.8.0, throttled-py 3.5.0 (PyPI), rate-limiter-flexible 11.4.0 (npm)
# Date     2026-11-29
# Source   observed; the description of the strategies in limits tells how precise each is, not that a refused hit is counted
# Output   limits fixed: 8 yes, 5 no, 2 no / limits moving: 8 yes, 5 no, 2 yes / throttled fixed: as fixed / throttled bucket: as moving /
#          rate-limiter-flexible: 8 yes, 5 no, 2 no
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet limits==5.8.0 throttled-py==3.5.0
npm init -y >/dev/null && npm install --silent --no-fund --no-audit rate-limiter-flexible@11.4.0
cat >see.py <<'PY'
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from throttled import Throttled, rate_limiter, store


def show(name, allowed):
    answers = [f"{cost} yes" if allowed(cost) else f"{cost} no" for cost in (8, 5, 2)]
    print(f"{name}: {', '.join(answers)}")


limit = parse("10/hour")
for name, strategy in (("fixed", FixedWindowRateLimiter), ("moving", MovingWindowRateLimiter)):
    limiter = strategy(MemoryStorage())
    show(f"limits {name}", lambda cost, limiter=limiter: limiter.hit(limit, "client", cost=cost))
for name, using in (("fixed", "fixed_window"), ("bucket", "token_bucket")):
    quota = rate_limiter.per_hour(10, burst=10)
    throttle = Throttled(using=using, quota=quota, store=store.MemoryStore())
    show(f"throttled {name}", lambda cost, throttle=throttle: not throttle.limit("client", cost=cost).limited)
PY
cat >see.mjs <<'JS'
import { RateLimiterMemory } from 'rate-limiter-flexible';

const limiter = new RateLimiterMemory({ points: 10, duration: 3600 });
const allowed = [];
for (const cost of [8, 5, 2]) {
  allowed.push(await limiter.consume('client', cost).then(() => `${cost} yes`, () => `${cost} no`));
}
console.log(`rate-limiter-flexible: ${allowed.join(', ')}`);
process.exit(0);
JS
# a fixed window begins with the hour; all three costs must be in the same one
while [ $(($(date +%s) % 3600)) -gt 3580 ]; do sleep 1; done
py/bin/python see.py | tee seen
node see.mjs | tee -a seen
diff - seen <<'SEEN'
limits fixed: 8 yes, 5 no, 2 no
limits moving: 8 yes, 5 no, 2 yes
throttled fixed: 8 yes, 5 no, 2 no
throttled bucket: 8 yes, 5 no, 2 yes
rate-limiter-flexible: 8 yes, 5 no, 2 no
SEEN
