#!/usr/bin/env bash
# Runs the pool's rule on a made-up Monday in March, and prints each decision and when it was made.
# shellcheck source=../dev.sh
. "$(dirname "$0")/../dev.sh"
millrace simulate --pool "$(dirname "$0")/pool.yaml" --begin 2026-03-02T06:30:00Z --duration 12h \
  --generate steady --rate 0.01 --start-time 5s --explain "$@"
