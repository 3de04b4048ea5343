#!/bin/sh
# Started for each task: the path of a text comes on stdin, its ten most frequent words go to stdout.
file=$(cat)
if [ ! -f "$file" ]; then
  echo "there is no file $file" >&2
  exit 65 # no other attempt will find it: a dead letter at once
fi
tr -cs '[:alpha:]' '\n' <"$file" | tr '[:upper:]' '[:lower:]' | sort | uniq -c | sort -k1,1nr -k2 | head -n 10
