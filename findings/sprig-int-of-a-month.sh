#!/usr/bin/env bash
# In a Helm template, `now | date "01" | int` is 0 in August and in September
#
# Guess    `int` of Sprig makes the number 8 of the string "08", as `atoi` does: it "converts to an int", and a string that it could
#          not convert would be an error, or 0 for one that holds no number.
# Truth    `int` and `int64` read a string as Go's literals are written, by its prefix: "08" and "09" are octal numbers with a wrong
#          digit, so 0, without an error; "010" is 8. What is computed of a month, a day, an hour or a padded ordinal
#          is right up to 7, wrong at 8 and 9, and right again from 10 on. `atoi` is right throughout.
# Versions github.com/Masterminds/sprig/v3 3.3.0 (Go)
# Date     2026-11-29
# Source   observed; Sprig's documentation of int and int64 does not speak of bases
# Output   07: int 7, atoi 7 / 08: int 0, atoi 8 / 09: int 0, atoi 9 / 10: int 10, atoi 10 / 010: int 8, atoi 10 / month after August:
#          int 1, atoi 9
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >see.go <<'GO'
package main

import (
	"os"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
)

const text = `{{ range list "07" "08" "09" "10" "010" }}{{ . }}: int {{ int . }}, atoi {{ atoi . }}
{{ end }}month after August: int {{ date "01" . | int | add1 }}, atoi {{ date "01" . | atoi | add1 }}
`

func main() {
	august := time.Date(2026, time.August, 15, 12, 0, 0, 0, time.Local)
	if err := template.Must(template.New("").Funcs(sprig.TxtFuncMap()).Parse(text)).Execute(os.Stdout, august); err != nil {
		panic(err)
	}
}
GO
go mod init see 2>/dev/null && go get github.com/Masterminds/sprig/v3@v3.3.0 2>/dev/null
go run see.go | tee seen
diff - seen <<'SEEN'
07: int 7, atoi 7
08: int 0, atoi 8
09: int 0, atoi 9
10: int 10, atoi 10
010: int 8, atoi 10
month after August: int 1, atoi 9
SEEN
