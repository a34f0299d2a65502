"""Measure S3's most frequent requests in localaws and in moto's own server, and what an idle localaws costs.

`python -m benchmarks.localaws_s3` prints a row for each measurement. The client sends requests that were signed before,
over connections that stay open, and reads the answers: an SDK would take more of the processors than the server. The
two servers are asked in turns. Beside each rate is the processor time that the server took for a request, which the
load of the machine changes less. Every answer is checked, and in the end the objects that were stored.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from socket import create_connection
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import psutil
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from benchmarks.figures import Figure, arguments, publish
from benchmarks.localaws_front import (
    BODY,
    DEADLINE_SECONDS,
    KEY,
    ROUNDS,
    client,
    localaws,
    moto_server,
    server_of,
    start_seconds,
)
from localaws.object_contents import base64_of, checksum

BUCKET = "bench"
SMALL = BODY[:4096]
CLIENTS = 4
REQUESTS = {"localaws": 1000, "moto's server": 100}
LISTED, OF_BUCKET = 1_000, 10_000
IDLE_SECONDS = 30.0


@dataclass(frozen=True)
class Rate:
    """How many requests a second were answered, and the server's processor time for one, in microseconds."""

    per_second: float
    microseconds: float


def main() -> None:
    """Measure and print."""
    arguments(__doc__).parse_args()
    rows = [start_seconds()]
    with localaws() as url, moto_server() as moto:
        rows.append(idle_share(url))
        servers = {"localaws": url, "moto's server": moto}
        for each in servers.values():
            client("s3", each).create_bucket(Bucket=BUCKET)
        for what, method, body in (("PutObject", "PUT", SMALL), ("GetObject", "GET", b""), ("HeadObject", "HEAD", b"")):
            rows += in_turns(servers, what, method, body)
        rows += listing(url)
    publish(rows)


def idle_share(url: str) -> Figure:
    """Measure the share of one core that a server takes which nobody asks for anything."""
    server = server_of(url)
    time.sleep(1)
    before = _computed(server)
    time.sleep(IDLE_SECONDS)
    return Figure("idle: share of a core", (_computed(server) - before) / IDLE_SECONDS * 100, "%", 1, "goal <= 0.2")


def _computed(server: psutil.Process) -> float:
    """Return the seconds that a process computed, by its clock (Linux): its counters go in steps of 10 ms."""
    return time.clock_gettime((~server.pid << 3) | 2)  # clock_getcpuclockid(3), which Python does not have


def in_turns(servers: dict[str, str], what: str, method: str, body: bytes) -> list[Figure]:
    """Measure one kind of request of 4 kB objects in each server."""
    taken: dict[str, list[Rate]] = {name: [] for name in servers}
    for _ in range(ROUNDS):
        for name, url in servers.items():
            requests = [signed(url, method, f"small/{number}", body) for number in range(REQUESTS[name])]
            taken[name].append(rate_of(url, requests))
            assert client("s3", url).get_object(Bucket=BUCKET, Key="small/7")["Body"].read() == SMALL
    goals = {("PutObject", "localaws"): "goal >= 2000"}
    return [
        row
        for name, rates in taken.items()
        for row in (
            Figure(f"{what} 4 kB, {name}", _median(rates, "per_second"), "/s", ROUNDS, goals.get((what, name), "")),
            Figure(f"{what} 4 kB, {name}, processor time of the server", _median(rates, "microseconds"), "us", ROUNDS),
        )
    ]


def _median(rates: Sequence[Rate], what: str) -> float:
    return float(statistics.median(getattr(each, what) for each in rates))


def signed(url: str, method: str, key: str, body: bytes = b"", query: str = "") -> bytes:
    """Return a whole request as boto3 sends it, with the checksum that it adds to a body."""
    address = f"{url}/{BUCKET}/{key}" if key else f"{url}/{BUCKET}{query}"
    headers = {"Host": urlsplit(url).netloc, "User-Agent": "Boto3/1", "Content-Length": str(len(body))}
    if body:
        crc32 = base64_of(checksum("CRC32", [body]))
        headers |= {"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-crc32": crc32}
    made = AWSRequest(method, address, headers, body)
    key_of_all = ReadOnlyCredentials(KEY.access_key_id, KEY.secret_access_key, None)
    S3SigV4Auth(key_of_all, "s3", "us-east-1").add_auth(made)
    target = address.removeprefix(url)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in made.headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def rate_of(url: str, requests: Sequence[bytes], clients: int = CLIENTS) -> Rate:
    """Send requests over so many connections at once.

    Raises:
        AssertionError: an answer is not 200.
        OSError: a connection was lost.
        TimeoutError: the answers did not come in time.
    """
    server = server_of(url)
    with ThreadPoolExecutor(clients) as pool:
        computed, before = _computed(server), time.perf_counter()
        sending = [pool.submit(send_all, url, requests[first::clients]) for first in range(clients)]
        for each in sending:
            each.result(DEADLINE_SECONDS)
    seconds, computed = time.perf_counter() - before, _computed(server) - computed
    return Rate(len(requests) / seconds, computed / len(requests) * 1e6)


def send_all(url: str, requests: Sequence[bytes]) -> bytes:
    """Send requests one after the other, over one connection unless the server closes it; return the last body."""
    body, left = b"", list(reversed(requests))
    while left:
        left, body = _send_until_closed(url, left)
    return body


def _send_until_closed(url: str, left: list[bytes]) -> tuple[list[bytes], bytes]:
    address, body, is_closed = urlsplit(url), b"", False
    with create_connection((str(address.hostname), address.port), timeout=DEADLINE_SECONDS) as connection:
        stream: Any = connection.makefile("rb")
        while left and not is_closed:
            request = left.pop()
            connection.sendall(request)
            body, is_closed = _answer(stream, has_body=not request.startswith(b"HEAD"))
    return left, body


def _answer(stream: BinaryIO, *, has_body: bool) -> tuple[bytes, bool]:
    """Return an answer's body, and whether it is the connection's last."""
    status, headers = stream.readline(), dict[bytes, bytes]()
    while (line := stream.readline()).strip():
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get(b"content-length", b"0"))) if has_body else b""
    assert b" 200 " in status, (status, body)
    return body, headers.get(b"connection") == b"close"


def listing(url: str) -> list[Figure]:
    """Measure a page of 1,000 keys, in a bucket of so many and in one of 10,000; before each an object is stored."""
    rows = []
    for number in (LISTED, OF_BUCKET):
        send_all(url, [signed(url, "PUT", f"page/{each:05}", b"x") for each in range(number)])
        query = f"?encoding-type=url&list-type=2&max-keys={LISTED}&prefix=page%2F"
        seconds = []
        for round_ in range(ROUNDS * 3):
            send_all(url, [signed(url, "PUT", f"page/{number + round_:05}", b"x")])
            request = signed(url, "GET", "", query=query)
            before = time.perf_counter()
            page = send_all(url, [request])
            seconds.append(time.perf_counter() - before)
            assert page.count(b"<Contents>") == LISTED
        goal = "goal <= 10" if number == OF_BUCKET else ""
        what = f"ListObjectsV2 of 1,000 keys of {number:,}"
        rows.append(Figure(what, statistics.median(seconds) * 1e3, "ms", len(seconds), goal))
    return rows


if __name__ == "__main__":
    main()
