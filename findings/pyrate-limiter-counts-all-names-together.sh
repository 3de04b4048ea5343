#!/usr/bin/env bash
# pyrate-limiter: one user who is over the limit locks out all others, although each request names its user
#
# Guess    try_acquire("alice") and try_acquire("bob") count apart: the name is the key. Its README has "per-key limits: track users
#          independently" first of all, and it was so in version 2, as it is in limits.
# Truth    Since version 3 the name only labels the item. A Limiter that is made of a Rate, as in the quickstart, has one bucket for all names;
#          after alice's two of two, bob has none. Keys need a BucketFactory of one's own that has a bucket for each name, which the README has
#          as an example under advanced use. The same calls after an upgrade are a limit for the whole service.
# Versions pyrate-limiter 4.5.1 and 2.10.0, limits 5.8.0 (PyPI)
# Date     2026-11-30
# Source   observed; vutran1710/PyrateLimiter#153 and #238 report it; the README of 4.5.1 does not say what the name in its quickstart does
# Output   two of two for alice, then for bob: 4.5.1: yes yes no no / 2.10.0: yes yes yes yes / limits: yes yes yes yes
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for version in 4.5.1 2.10.0; do
  python3 -m venv "py-$version" && "py-$version/bin/pip" install --quiet "pyrate-limiter==$version" limits==5.8.0
done
cat >see4.py <<'PY'
from pyrate_limiter import Duration, Limiter, Rate

limiter = Limiter(Rate(2, Duration.HOUR))
print("4.5.1:", *["yes" if limiter.try_acquire(name, blocking=False) else "no" for name in ("alice", "alice", "bob", "bob")])
PY
cat >see2.py <<'PY'
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pyrate_limiter import BucketFullException, Duration, Limiter, RequestRate

limiter = Limiter(RequestRate(2, Duration.HOUR))


def allowed(name):
    try:
        limiter.try_acquire(name)
    except BucketFullException:
        return False
    return True


names = ("alice", "alice", "bob", "bob")
print("2.10.0:", *["yes" if allowed(name) else "no" for name in names])
moving, limit = MovingWindowRateLimiter(MemoryStorage()), parse("2/hour")
print("limits:", *["yes" if moving.hit(limit, name) else "no" for name in names])
PY
timeout 60 py-4.5.1/bin/python see4.py | tee seen
timeout 60 py-2.10.0/bin/python see2.py | tee -a seen
diff - seen <<'SEEN'
4.5.1: yes yes no no
2.10.0: yes yes yes yes
limits: yes yes yes yes
SEEN
