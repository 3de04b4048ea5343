#!/usr/bin/env bash
# Kubernetes' cron library loses a daily start of two o'clock when the clocks go back by half an hour
#
# Guess    On Lord Howe Island the clocks go back at 02:00 by half an hour, to 01:30. 02:00 itself comes once, half an hour later, so a daily job
#          at 02:00 (a CronJob with timeZone: Australia/Lord_Howe) starts then: only times from 01:30 to 01:59 come twice.
# Truth    robfig/cron, which Kubernetes asks, does not start it on that day. From 01:00 it goes on by whole hours, to 01:30 and to 02:30,
#          where the minutes of 02:00 are past. Of `*/15 2 * * *` the starts of 02:00 and 02:15 are lost. cronsim loses these two as
#          well, and finds the single 02:00 of each day; croniter finds all.
# Versions robfig/cron v3.0.1 (Go), cronsim 2.8, croniter 7.0.0 (PyPI), with the time zone rules of Go and of tzdata 2026.3
# Date     2026-11-29
# Source   observed, and SpecSchedule.Next; its comment speaks of hours that are skipped or repeated
# Output   `0 2 * * *`: robfig 05, 06, 07; croniter and cronsim 04, 05, 06 / `*/15 2 * * *`: robfig and cronsim 04 02:30, 04 02:45, 05 02:00;
#          croniter 04 02:00, 04 02:15, 04 02:30
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet cronsim==2.8 croniter==7.0.0 tzdata==2026.3
cat >see.py <<'PY'
from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

start = datetime(2027, 4, 3, 12, tzinfo=ZoneInfo("Australia/Lord_Howe"))
for expression in ("0 2 * * *", "*/15 2 * * *"):
    by_croniter, by_cronsim = croniter(expression, start), CronSim(expression, start)
    found = {"croniter": [by_croniter.get_next(datetime) for _ in range(3)], "cronsim": [next(by_cronsim) for _ in range(3)]}
    for name, starts in found.items():
        print(f"{name} {expression}: {', '.join(at.strftime('%d %H:%M') for at in starts)}")
PY
cat >see.go <<'GO'
package main

import (
	"fmt"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

func main() {
	zone, err := time.LoadLocation("Australia/Lord_Howe")
	if err != nil {
		panic(err)
	}
	for _, expression := range []string{"0 2 * * *", "*/15 2 * * *"} {
		schedule, err := cron.ParseStandard(expression)
		if err != nil {
			panic(err)
		}
		at := time.Date(2027, 4, 3, 12, 0, 0, 0, zone)
		fmt.Printf("robfig %s:", expression)
		for i := range 3 {
			at = schedule.Next(at)
			fmt.Print([]string{" ", ", ", ", "}[i], at.Format("02 15:04"))
		}
		fmt.Println()
	}
}
GO
export GOPATH="$work/go" GOFLAGS='-mod=mod -modcacherw' GOTOOLCHAIN=local
go mod init see >go.log 2>&1
go get github.com/robfig/cron/v3@v3.0.1 >>go.log 2>&1
go run see.go | tee seen
py/bin/python see.py | tee -a seen
diff - seen <<'SEEN'
robfig 0 2 * * *: 05 02:00, 06 02:00, 07 02:00
robfig */15 2 * * *: 04 02:30, 04 02:45, 05 02:00
croniter 0 2 * * *: 04 02:00, 05 02:00, 06 02:00
cronsim 0 2 * * *: 04 02:00, 05 02:00, 06 02:00
croniter */15 2 * * *: 04 02:00, 04 02:15, 04 02:30
cronsim */15 2 * * *: 04 02:30, 04 02:45, 05 02:00
SEEN
