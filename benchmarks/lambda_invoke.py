"""Measure how many invocations per second of a no-op Lambda function localaws handles, and who uses the CPU.

`python -m benchmarks.lambda_invoke` prints a row for each measurement. Eight environments are warmed. Then eight
connections each send a request as soon as the previous one is answered. The client is a single thread that writes
prepared bytes and checks only status line and body, so that it uses little of the machine. Its CPU time is measured
beside that of the server and of the functions. Every response is checked, and CloudWatch's Invocations must equal the
number of requests sent.
"""

import io
import os
import re
import selectors
import socket
import statistics
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psutil
from botocore.credentials import ReadOnlyCredentials

from benchmarks.figures import Figure, arguments, publish
from benchmarks.localaws_front import TRUST as SAGEMAKER_TRUST
from benchmarks.localaws_front import client, localaws, make_role
from loadtest.signing import Payload, Route, Signer

HANDLER = """
import time
def handler(event, context):
    if event:
        time.sleep(event["seconds"])
    return "done"
"""
ANSWER = b'"done"'
NAME = "noop"
ENVIRONMENTS = 8
ROUNDS = 9
INVOCATIONS = 1500
DEADLINE_SECONDS = 60.0
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Round:
    """One round: invocations per second, the seconds of each invocation, and the CPU seconds by process."""

    rate: float
    seconds: list[float]
    cpu: dict[str, float]


def main() -> None:
    """Measure and print."""
    arguments(__doc__).parse_args()
    with localaws() as url:
        _make_function(url)
        sent = _warm(url)
        alone = [_round(url, 1) for _ in range(ROUNDS)]
        together = [_round(url, ENVIRONMENTS) for _ in range(ROUNDS)]
        sent += 2 * ROUNDS * INVOCATIONS
        assert _counted(url) == sent, f"CloudWatch counted {_counted(url)} invocations, but {sent} were sent"
    publish([*_rows(alone, 1), *_rows(together, ENVIRONMENTS)])


def _rows(rounds: list[Round], connections: int) -> list[Figure]:
    seconds = sorted(second for each in rounds for second in each.seconds)
    concurrency = f"{connections} at a time"
    rate = statistics.median(each.rate for each in rounds)
    goal = f"goal >= 500, {ENVIRONMENTS} warm environments" if connections == ENVIRONMENTS else ""
    rows = [
        Figure(f"Invoke, {concurrency}, median rate", rate, "/s", len(rounds), goal),
        Figure(f"Invoke, {concurrency}, p50", statistics.median(seconds) * 1000, "ms", len(seconds)),
        Figure(f"Invoke, {concurrency}, p99", seconds[int(0.99 * len(seconds))] * 1000, "ms", len(seconds)),
    ]
    for part in rounds[0].cpu:
        value = statistics.median(each.cpu[part] for each in rounds) / INVOCATIONS * 1000
        rows.append(Figure(f"Invoke, {concurrency}, CPU of {part} per invocation", value, "ms", len(rounds)))
    return rows


def _round(url: str, connections: int) -> Round:
    before = _cpu_seconds(url)
    started = time.perf_counter()
    seconds = _invoke(url, INVOCATIONS, connections, b"{}")
    wall = time.perf_counter() - started
    after = _cpu_seconds(url)
    return Round(INVOCATIONS / wall, seconds, {part: after[part] - before[part] for part in before})


def _cpu_seconds(url: str) -> dict[str, float]:
    port = urlsplit(url).port
    listening = [each for each in psutil.net_connections("tcp4") if each.status == "LISTEN"]
    (server,) = [psutil.Process(each.pid) for each in listening if each.laddr and each.laddr.port == port]
    functions = [child for child in server.children(recursive=True) if "awslambdaric" in " ".join(child.cmdline())]
    return {
        "localaws": _used(server),
        "the functions' processes": sum(_used(process) for process in functions),
        "the client": _used(psutil.Process()),
    }


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _warm(url: str) -> int:
    """Start all environments by overlapping calls, which cannot share one; return the number of calls."""
    _invoke(url, ENVIRONMENTS, ENVIRONMENTS, b'{"seconds": 1}')
    _invoke(url, INVOCATIONS, ENVIRONMENTS, b"{}")
    return ENVIRONMENTS + INVOCATIONS


def _invoke(url: str, count: int, connections: int, event: bytes) -> list[float]:
    """Invoke `count` times over `connections` connections; return the seconds of each."""
    path = f"/2015-03-31/functions/{NAME}/invocations"
    route = Route(urlsplit(url).netloc, path, "", "lambda", "us-east-1")
    keys = ReadOnlyCredentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], None)
    request = Signer(route, lambda: keys).request(Payload.of("event", event, "application/json"))
    seconds: list[float] = []
    left = count
    with _connected(url, connections) as (selector, sockets):
        sent_at = {}
        for each in sockets[:left]:
            each.sendall(request)
            sent_at[each] = time.perf_counter()
            left -= 1
        while len(seconds) < count:
            ready = selector.select(DEADLINE_SECONDS)
            assert ready, f"there was no response within {DEADLINE_SECONDS:.0f} s"
            for key, _ in ready:
                connection: Any = key.fileobj
                _check(_answer(connection))
                now = time.perf_counter()
                seconds.append(now - sent_at[connection])
                if left:
                    left -= 1
                    sent_at[connection] = now
                    connection.sendall(request)
    return seconds


def _answer(connection: socket.socket) -> bytes:
    answer = b""
    while True:
        answer += connection.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length and len(body) == int(length[1]):
            return answer


def _check(answer: bytes) -> None:
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n" + ANSWER), answer


@contextmanager
def _connected(url: str, count: int) -> Iterator[tuple[selectors.BaseSelector, list[socket.socket]]]:
    address = urlsplit(url)
    sockets = [socket.create_connection((str(address.hostname), int(address.port or 0))) for _ in range(count)]
    with selectors.DefaultSelector() as selector:
        try:
            for each in sockets:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                each.settimeout(DEADLINE_SECONDS)
                selector.register(each, selectors.EVENT_READ)
            yield selector, sockets
        finally:
            for each in sockets:
                each.close()


def _make_function(url: str) -> None:
    trust = SAGEMAKER_TRUST.replace("sagemaker", "lambda")
    role = make_role(url, "noop", trust)
    client("lambda", url).create_function(
        FunctionName=NAME,
        Runtime="python3.11",
        Handler="handler.handler",
        Role=role,
        Code={"ZipFile": archive_of(HANDLER)},
    )


def archive_of(source: str) -> bytes:
    """Return the zip of a function whose `handler.py` is this."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("handler.py", source)
    return archive.getvalue()


def _counted(url: str) -> int:
    now = datetime.now(UTC)
    points = client("cloudwatch", url).get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": "FunctionName", "Value": NAME}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    return int(sum(point["Sum"] for point in points))


if __name__ == "__main__":
    main()
