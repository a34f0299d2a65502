"""Measure the console of localaws: pages, what a viewer costs, and InvokeEndpoint beside three viewers.

`python -m benchmarks.console` prints a row for each measurement, with its goal. The pages are of a server with an
endpoint under load and 200 rows of requests. A viewer follows the endpoint's page, which changes at every look. The
latency of InvokeEndpoint with and without viewers is taken in turns, closed loop, one client.
"""

import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.figures import Figure, arguments, publish
from benchmarks.localaws_front import PATH, REQUESTS, ROUNDS, localaws, serve_model, server_of
from benchmarks.localaws_front import ask as invoke
from localaws.record import read_record

VIEWERS = 3
LOOK_SECONDS = 20.0
PAGES = ("", "jobs", "endpoint?name=bench", "requests", "metrics", "roles")


def main() -> None:
    """Measure and print."""
    arguments(__doc__).parse_args()
    firsts = [first_page() for _ in range(ROUNDS)]
    with localaws() as url:
        address = console_of(url)
        serve_model(url)
        invoke(url, PATH, REQUESTS)
        rows = [Figure("the first page after a start, median", statistics.median(firsts), "ms", ROUNDS, "goal <= 100")]
        rows += [page(address, name) for name in PAGES]
        rows.append(viewer_percent(url, address))
        rows += latencies(url, address)
    publish(rows)


def console_of(url: str) -> str:
    """Return the console's address of the server that listens there."""
    home = server_of(url).cmdline()
    record = read_record(Path(home[home.index("--home") + 1]))
    assert record is not None
    return record.console_url


def first_page() -> float:
    """Return how many milliseconds the first page of a server takes that has just started."""
    with localaws() as url:
        return milliseconds(console_of(url))


def page(address: str, name: str) -> Figure:
    """Measure one page."""
    taken = [milliseconds(address + name) for _ in range(3 * ROUNDS)]
    return Figure(f"the page {name or 'overview'}, median", statistics.median(taken), "ms", len(taken), "goal <= 100")


def milliseconds(address: str) -> float:
    """Return how long a page takes until it is read."""
    parts = urlsplit(address)
    before = time.perf_counter()
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read()
    connection.close()
    return 1e3 * (time.perf_counter() - before)


def viewer_percent(url: str, address: str) -> Figure:
    """Measure the server's processor time with three viewers of a page, beyond that without, a viewer."""
    idle = processor_percent(url)
    with viewers(address):
        busy = processor_percent(url)
    cost = (busy - idle) / VIEWERS
    return Figure(f"of a core a viewer, {VIEWERS} at the endpoint's page", cost, "%", 1, "goal <= 2")


def processor_percent(url: str) -> float:
    """Return what the server uses of a core while one request a second keeps the page changing."""
    server = server_of(url)
    used, before = sum(server.cpu_times()[:2]), time.perf_counter()
    while time.perf_counter() - before < LOOK_SECONDS:
        invoke(url, PATH, 1)
        time.sleep(1.0)
    return 100 * (sum(server.cpu_times()[:2]) - used) / (time.perf_counter() - before)


def latencies(url: str, address: str) -> list[Figure]:
    """Measure InvokeEndpoint with and without viewers, in turns."""
    taken: dict[str, list[float]] = {"without viewers": [], f"beside {VIEWERS} viewers": []}
    for _ in range(ROUNDS):
        alone, beside = taken.values()
        alone += invoke(url, PATH, 2 * REQUESTS)
        with viewers(address):
            beside += invoke(url, PATH, 2 * REQUESTS)
    rows = []
    for name, seconds in taken.items():
        for what, value in (("median", statistics.median(seconds)), ("p99", statistics.quantiles(seconds, n=100)[98])):
            rows.append(Figure(f"InvokeEndpoint 50 kB {name}, {what}", 1e3 * value, "ms", len(seconds)))
    return rows


@contextmanager
def viewers(address: str) -> Iterator[None]:
    """Have viewers follow the endpoint's page until the block ends."""
    parts = urlsplit(f"{address}live/endpoint?name=bench")
    connections = [http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60) for _ in range(VIEWERS)]
    for each in connections:
        each.request("GET", f"{parts.path}?{parts.query}")
    streams = [each.getresponse() for each in connections]
    is_over = threading.Event()
    threads = [threading.Thread(target=follow, args=(each, is_over), daemon=True) for each in streams]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)
        for each in connections:
            each.close()


def follow(stream: http.client.HTTPResponse, is_over: threading.Event) -> None:
    """Read a stream until the block is over; the page changes with each request, so there is always more."""
    while not is_over.is_set():
        assert stream.readline()


if __name__ == "__main__":
    main()
