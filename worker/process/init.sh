#!/bin/sh
# The first process of a container, which every process without a parent becomes a child of: it starts the command that it
# is given, hands signals on to it, and waits for whatever ends, so that nothing is left as a zombie. A shell reaps any
# child while it waits for one. Ends with the command's exit code, or with 128 and the number of the signal that killed it.
child=''
told=''
tell() {
  told=$1
  if [ -n "$child" ]; then kill -s "$1" "$child" 2>/dev/null; fi
}
for name in TERM INT HUP QUIT USR1 USR2; do
  # shellcheck disable=SC2064 # each trap has its own signal
  trap "tell $name" "$name"
done
# a command in the background would read from /dev/null
exec 3<&0
"$@" <&3 3<&- &
child=$!
exec 3<&-
if [ -n "$told" ]; then tell "$told"; fi
while :; do
  wait "$child"
  code=$?
  # a signal ends the wait, too
  kill -0 "$child" 2>/dev/null || exit "$code"
done
