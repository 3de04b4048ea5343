#!/usr/bin/env bash
# A weekly start whose hour is skipped up to midnight is not moved: that week has none
#
# Guess    In America/Nuuk the clocks go from Saturday 23:00 to Sunday 00:00 in spring, so `45 23 * * 6` (Saturdays, 23:45) meets
#          no such time that day. croner moves a time that does not exist to the end of the gap, as it does for 02:30 in
#          Europe/Berlin, so this start comes at midnight.
# Truth    There is none between 20 March and 3 April. The end of the gap is on Sunday, which the day of the week does not match.
# Versions croner 11.0.1 (npm), with the time zone rules of 2023 for Nuuk, which each current Node has
# Date     2026-11-28
# Source   observed; croner's documentation speaks of times that do not exist, not of a gap that ends at midnight
# Output   Nuuk: 2027-03-20 23:45, 2027-04-03 23:45 / Berlin: 2027-03-27 02:30, 2027-03-28 03:00
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit croner@11.0.1
cat >see.mjs <<'JS'
import { Cron } from 'croner';

function show(name, cron, timeZone, from) {
  const starts = new Cron(cron, { timezone: timeZone, paused: true }).nextRuns(2, new Date(from));
  // the Swedish form of a date and a time is that of ISO 8601
  console.log(`${name}: ${starts.map((at) => at.toLocaleString('sv', { timeZone }).slice(0, 16)).join(', ')}`);
}
show('Nuuk', '45 23 * * 6', 'America/Nuuk', '2027-03-18T12:00:00Z');
show('Berlin', '30 2 * * *', 'Europe/Berlin', '2027-03-26T12:00:00Z');
JS
node see.mjs | tee seen
diff - seen <<'SEEN'
Nuuk: 2027-03-20 23:45, 2027-04-03 23:45
Berlin: 2027-03-27 02:30, 2027-03-28 03:00
SEEN
