"""A Redis of the suite's own, and a worker that takes from it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from millrace import Queue

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NODE = ROOT / "node_modules" / ".bin" / "node"
PATIENCE_S = 120.0
_claims: list[socket.socket] = []


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with _redis(str(tmp_path_factory.mktemp("redis"))) as port:
        yield port


@pytest.fixture(scope="session")
def cluster_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a Redis Cluster with one node."""
    with _redis(str(tmp_path_factory.mktemp("cluster")), "--cluster-enabled", "yes") as port:
        with redis.Redis(port=port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.01)
        yield port


def _free_port() -> int:
    """As test/support/ports.ts: one that no test of the machine is given again while this process lives.

    Below what the system gives to clients. A node of a cluster also listens on the port 10,000 above its own.
    """
    while True:
        port = random.randint(12_000, 29_999)
        claim = socket.socket(socket.AF_UNIX)
        try:
            if sys.platform == "linux":
                claim.bind(f"\0millrace-test-port-{port}")
            with socket.socket() as free:
                free.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port


@contextmanager
def _redis(folder: str, *more: str) -> Iterator[int]:
    port = _free_port()
    flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *more]
    with subprocess.Popen(["redis-server", *flags], stdout=subprocess.DEVNULL) as server:
        client = redis.Redis(port=port, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), 500))
        client.ping()
        client.close()
        yield port
        server.terminate()


@pytest.fixture(scope="session")
def url(port: int) -> str:
    return f"redis://127.0.0.1:{port}"


@pytest.fixture
def plain(port: int) -> Iterator[redis.Redis]:
    """A client that knows nothing of Millrace."""
    with redis.Redis(port=port) as client:
        yield client


@pytest.fixture
def name() -> str:
    """Of a queue that no other test uses."""
    return f"tasks-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def queue(url: str, name: str) -> Iterator[Queue]:
    with Queue(url, queue=name, result=f"{name}:result") as queue:
        yield queue


StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="session")
def start_worker(url: str) -> Iterator[StartWorker]:
    """Starts millrace-worker with flags, until the end of the suite."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(*flags: str) -> subprocess.Popen[bytes]:
        own = ["--redis", url, "--python-executable", sys.executable]
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'python' / 'src'}:{HERE}"}
        worker = subprocess.Popen([NODE, ROOT / "worker" / "main.ts", *own, *flags], env=env)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="session")
def worked(url: str, start_worker: StartWorker) -> Iterator[Queue]:
    """A queue with a worker that runs all tasks of `sample_tasks.py`."""
    start_worker(
        "--queue",
        "worked",
        "--result",
        "worked:result",
        "--python",
        "sample_tasks",
        "--concurrency",
        "2",
        "--attempts",
        "2",
        "--backoff-initial",
        "1ms",
    )
    with Queue(url, queue="worked", result="worked:result") as queue:
        yield queue
