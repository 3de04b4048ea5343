#!/usr/bin/env bash
# saffron: hours 22-4 are 21 to 4 o'clock, and Friday to Monday begins on Thursday
#
# Guess    saffron, the cron parser that Cloudflare wrote for its Workers, takes ranges that go backwards: 22-4 is the hours 22, 23, 0, 1, 2, 3
#          and 4, FRI-MON four days, 11-2 the months from November to February; or it refuses them, as croner, cronexpr and cron (Rust) do.
# Truth    Each such range begins one value too early: 21 o'clock, Thursday, October, and 28-3 has the 27th. Its end is right. With a step it is
#          right (22-4/3 is 22, 1 and 4), and so are ranges that go forwards. A job that is kept out of business hours runs in the last of
#          them, once more each day than was asked for.
# Versions saffron 0.1.0, chrono 0.4.45 (crates.io)
# Date     2026-11-30
# Source   observed, and src/lib.rs of saffron, which means to wrap as Quartz does
# Output   hours 22-4: 0 1 2 3 4 21 22 23 / hours 22-4/3: 1 4 22 / days FRI-MON: Mon Thu Fri Sat Sun / months 11-2: 1 2 10 11 12 / days
#          28-3: 1 2 3 27 28 29 30 31
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
saffron = "=0.1.0"
chrono = "=0.4.45"
TOML
cat >src/main.rs <<'RS'
use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, TimeZone, Timelike, Utc, Weekday};

// what all starts of a year have in this field
fn seen(expression: &str, field: fn(&DateTime<Utc>) -> u32) -> BTreeSet<u32> {
    let start = Utc.with_ymd_and_hms(2027, 1, 1, 0, 0, 0).unwrap();
    let end = Utc.with_ymd_and_hms(2028, 1, 1, 0, 0, 0).unwrap();
    let cron: saffron::Cron = expression.parse().expect("an expression that it takes");
    cron.iter_from(start).take_while(|time| *time < end).map(|time| field(&time)).collect()
}

fn show(name: &str, values: BTreeSet<u32>) {
    let values: Vec<String> = values.iter().map(u32::to_string).collect();
    println!("{name}: {}", values.join(" "));
}

fn main() {
    show("hours 22-4", seen("0 22-4 * * *", DateTime::hour));
    show("hours 22-4/3", seen("0 22-4/3 * * *", DateTime::hour));
    show("hours 4-22", seen("0 4-22 * * *", DateTime::hour));
    show("months 11-2", seen("0 9 1 11-2 *", DateTime::month));
    show("days 28-3", seen("0 9 28-3 * *", DateTime::day));
    let days = seen("0 9 * * FRI-MON", |time| time.weekday().num_days_from_monday());
    let days: Vec<String> = days.iter().map(|day| Weekday::try_from(*day as u8).unwrap().to_string()).collect();
    println!("days FRI-MON: {}", days.join(" "));
}
RS
cargo run --quiet 2>cargo.log | tee seen
diff - seen <<'SEEN'
hours 22-4: 0 1 2 3 4 21 22 23
hours 22-4/3: 1 4 22
hours 4-22: 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22
months 11-2: 1 2 10 11 12
days 28-3: 1 2 3 27 28 29 30 31
days FRI-MON: Mon Thu Fri Sat Sun
SEEN
