"""A task of the Jobs experiment, `ID MS`: sleeps, and notes when and where it began and ended. Millrace gives it in the environment; under
KEDA's rule it is the next of a list, if there is one. Only Python's own library."""

import os
import signal
import socket
import sys
import time

# the first process of a container is not stopped by a signal that it does not handle
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

host, port = os.environ["REDIS_ADDRESS"].split(":")
connection = socket.create_connection((host, int(port)))
replies = connection.makefile("rb")


def command(*words):
    parts = [word.encode() for word in words]
    packed = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    connection.sendall(b"*%d\r\n%s" % (len(parts), packed))
    line = replies.readline().rstrip()
    if line[:1] == b"-":
        raise RuntimeError(line.decode())
    if line[:1] != b"$":
        return line[1:]
    return None if line == b"$-1" else replies.read(int(line[1:]) + 2)[:-2]


def note(what):
    at = round(time.time() * 1000)
    command("RPUSH", os.environ["RUNS"] + name, f"{what} {os.environ['HOSTNAME']} {at}")


task = os.environ.get("MILLRACE_TASK") or (command("RPOP", os.environ.get("LIST", "")) or b"").decode()
if not task:
    sys.exit()
name, ms = task.split()
note("begin")
time.sleep(int(ms) / 1000)
note("end")
