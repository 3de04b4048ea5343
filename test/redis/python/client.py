"""A plain client and a plain worker in Python: the contract is LPUSH and HGET, RPOP and HSET, and nothing else.

Usage: client.py PORT QUEUE RESULT CASE, where CASE is a function below. Prints nothing when all is right.
"""

import concurrent.futures
import hashlib
import json
import sys
import time

import redis

PATIENCE_S = 20


def result_of(client, result, field):
    """Waits for a field of the result hash, as a client of any language would."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = client.hget(result, field)
        if value is not None:
            return value
        time.sleep(0.005)
    raise AssertionError(f"no result of {field[:60]!r} after {PATIENCE_S} s")


def expect(found, wanted):
    assert found == wanted, f"{found[:80]!r} instead of {wanted[:80]!r}"


def text(client, queue, result):
    client.lpush(queue, "task1")
    expect(result_of(client, result, "task1"), b"text:task1")


def json_with_id(client, queue, result):
    client.lpush(queue, json.dumps({"id": "order-17", "n": 20}))
    expect(json.loads(result_of(client, result, "order-17")), {"doubled": 40})
    # as other libraries write it: spaces, escapes, the id last, a number for an id
    client.lpush(queue, '{ "n" : 1.5, "id" : "\\u00e9t\\u00e9" }')
    expect(json.loads(result_of(client, result, "été")), {"doubled": 3})
    client.lpush(queue, '{"id": 12345678901234567890, "n": 0}')
    expect(json.loads(result_of(client, result, "12345678901234567890")), {"doubled": 0})


def json_without_id(client, queue, result):
    task = json.dumps({"n": 4})
    client.lpush(queue, task)
    expect(json.loads(result_of(client, result, task)), {"doubled": 8})


def not_utf8(client, queue, result):
    task = bytes(range(256))
    client.lpush(queue, task)
    expect(result_of(client, result, task), bytes(reversed(task)))


def empty(client, queue, result):
    client.lpush(queue, "")
    expect(result_of(client, result, ""), b"text:")


def ten_megabytes(client, queue, result):
    task = hashlib.shake_256(b"seed").digest(10 << 20)
    client.lpush(queue, task)
    expect(hashlib.sha256(result_of(client, result, task)).digest(), hashlib.sha256(task[::-1]).digest())


def thousand_from_two_clients(client, queue, result):
    def push(name):
        with redis.Redis(port=client.get_connection_kwargs()["port"]) as own:
            for i in range(500):
                own.lpush(queue, f"{name}-{i}")
            for i in range(500):
                expect(result_of(own, result, f"{name}-{i}"), f"text:{name}-{i}".encode())

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(push, ["left", "right"]))
    expect([client.hlen(result)], [1000])
    expect([client.exists(queue)], [0])


def plain_worker_beside(client, queue, result):
    """Takes 50 of 400 tasks, which take the other workers a while; the rest is done by them."""
    tasks = [f"slow-{i}" for i in range(400)]
    client.lpush(queue, *tasks)
    for mine in range(50):
        task = client.rpop(queue)
        assert task is not None, f"only {mine} tasks for the plain worker"
        client.hset(result, task, b"plain:" + task)
    values = [result_of(client, result, task) for task in tasks]
    assert {value.split(b":")[1].decode() for value in values} == set(tasks)
    plain = sum(value.startswith(b"plain:") for value in values)
    expect([plain], [50])
    expect([client.hlen(result)], [len(tasks)])


if __name__ == "__main__":
    port, queue, result, case = sys.argv[1:]
    with redis.Redis(port=int(port)) as connection:
        globals()[case](connection, queue, result)
