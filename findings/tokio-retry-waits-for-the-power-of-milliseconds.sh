#!/usr/bin/env bash
# An exponential backoff of tokio-retry that begins at 100 ms waits 17 minutes before its third retry, and one that begins at 1 ms never backs off
#
# Guess    ExponentialBackoff::from_millis(100) begins with 100 ms and doubles: 100, 200, 400, 800 ms, as in backon, and as exponential
#          backoff does elsewhere. From 1 ms it is 1, 2, 4, 8 ms.
# Truth    The number is the base of the power, in milliseconds: the waits are 100, 100², 100³ ms and so on, so 0.1 s, 10 s, 17 minutes, 28 hours.
#          1 to any power is 1: a client that begins at 1 ms hammers a server that is down each millisecond, for good. What is meant
#          is from_millis(2).factor(50). The first wait is as guessed.
# Versions tokio-retry 0.3.2, tokio-retry2 0.9.1, backon 1.6.0 (crates.io)
# Date     2026-11-30
# Source   observed; the documentation of from_millis says that it takes the base to the n-th power
# Output   backon, 100 ms: 100, 200, 400, 800 ms / tokio-retry and tokio-retry2, 100 ms: 100, 10000, 1000000, 100000000 ms /
#          tokio-retry, 1 ms: 1, 1, 1, 1 ms / 2 ms, factor 50: 100, 200, 400, 800 ms
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "see"
version = "0.0.0"
edition = "2021"

[dependencies]
tokio-retry = "=0.3.2"
tokio-retry2 = "=0.9.1"
backon = { version = "=1.6.0", default-features = false }
TOML
cat >src/main.rs <<'RS'
use backon::BackoffBuilder;
use std::time::Duration;

fn say(name: &str, waits: impl Iterator<Item = Duration>) {
    let milliseconds: Vec<_> = waits.take(4).map(|wait| wait.as_millis().to_string()).collect();
    println!("{name}: {} ms", milliseconds.join(", "));
}

fn main() {
    let backon = backon::ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_max_times(4);
    say("backon, 100 ms", backon.build());
    say("tokio-retry, 100 ms", tokio_retry::strategy::ExponentialBackoff::from_millis(100));
    say("tokio-retry2, 100 ms", tokio_retry2::strategy::ExponentialBackoff::from_millis(100));
    say("tokio-retry, 1 ms", tokio_retry::strategy::ExponentialBackoff::from_millis(1));
    say("tokio-retry, 2 ms, factor 50", tokio_retry::strategy::ExponentialBackoff::from_millis(2).factor(50));
}
RS
cargo run --quiet | tee seen
diff - seen <<'SEEN'
backon, 100 ms: 100, 200, 400, 800 ms
tokio-retry, 100 ms: 100, 10000, 1000000, 100000000 ms
tokio-retry2, 100 ms: 100, 10000, 1000000, 100000000 ms
tokio-retry, 1 ms: 1, 1, 1, 1 ms
tokio-retry, 2 ms, factor 50: 100, 200, 400, 800 ms
SEEN
