#!/bin/sh
# The first process of a container, which adopts all orphaned processes: it starts the given command, forwards signals to it, and
# waits for all processes that end, so that none is left as a zombie. A shell reaps any child while it waits for one. Exits with
# the command's exit code, or with 128 plus the number of the signal that killed it.
child=''
received=''
forward() {
  received=$1
  if [ -n "$child" ]; then kill -s "$1" "$child" 2>/dev/null; fi
}
for name in TERM INT HUP QUIT USR1 USR2; do
  # shellcheck disable=SC2064 # each trap has its own signal
  trap "forward $name" "$name"
done
# a command in the background would read from /dev/null
exec 3<&0
"$@" <&3 3<&- &
child=$!
exec 3<&-
if [ -n "$received" ]; then forward "$received"; fi
while :; do
  wait "$child"
  code=$?
  # a signal ends the wait, too
  kill -0 "$child" 2>/dev/null || exit "$code"
done
