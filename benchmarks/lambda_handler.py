"""Compare the deployed Lambda function with the same function written with boto3.

`python -m benchmarks.lambda_handler` prints three ratios. Cold: the time from the import of the handler to its first
response, in a fresh interpreter; the start of the interpreter is not counted. Call: the time of one warm call. Client:
that time less the time of exchanging as many bytes with the same server over a bare socket.

The two functions run in turns against a server on loopback that responds at once. Their responses must be equal. Not
covered: TLS, and fetching a URL, which the boto3 function does not do.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.figures import Figure, arguments, of, publish, ratio_of

ROOT = Path(__file__).resolve().parents[1]
OURS, STOCK = ROOT / "lambda" / "classify", ROOT / "benchmarks" / "lambda_stock"
ROUNDS = 9
TIMES = {"cold_ms": "cold start", "call_ms": "warm call", "client_ms": "client time"}
GOALS = {"cold_ms": "goal >= 6", "client_ms": "goal >= 4"}
CALLS = 200
IMAGE = b"\xff\xd8\xff" + bytes(20_000)
SCORES = json.dumps({"labels": ["a", "b"], "scores": [0.75, 0.25]}).encode()

CHILD = """
import json, socket, statistics, sys, time
from urllib.parse import urlsplit
folder, calls = sys.argv[1], int(sys.argv[2])
event = json.loads(sys.stdin.read())
sys.path.insert(0, folder)
started = time.perf_counter()
from handler import handler
first = handler(event, None)
cold = time.perf_counter() - started
import base64, os
where = urlsplit(os.environ["AWS_ENDPOINT_URL"])
body = base64.b64decode(event["image"])
padding = "X-Padding: " + "x" * 700
head = f"POST /bare HTTP/1.1\\r\\nHost: x\\r\\n{padding}\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
bare = socket.create_connection((where.hostname, where.port))
bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def exchange():
    bare.sendall(head.encode() + body)
    answer = b""
    while not answer.endswith(b"}"):
        answer += bare.recv(65536)
def median_of(call):
    times = []
    for _ in range(calls):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)
median_of(lambda: handler(event, None))
called, exchanged = median_of(lambda: handler(event, None)), median_of(exchange)
print(json.dumps({"cold_ms": cold * 1e3, "call_ms": called * 1e3, "bare_ms": exchanged * 1e3, "answer": first}))
"""


@dataclass(frozen=True)
class Measured:
    """Times of one function in a fresh process, in milliseconds; call and bare exchange are medians of `CALLS`."""

    cold_ms: float
    call_ms: float
    bare_ms: float
    answer: object

    @property
    def client_ms(self) -> float:
        """The time that the function adds to the bare exchange."""
        return self.call_ms - self.bare_ms


class Endpoint(BaseHTTPRequestHandler):
    """A server that responds to InvokeEndpoint with fixed scores."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Read the image and respond with the scores."""
        self.rfile.read(int(self.headers["Content-Length"]))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(SCORES)}\r\n\r\n"
        self.wfile.write(head.encode() + SCORES)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is http.server's
        """Log nothing."""


@contextmanager
def endpoint() -> Iterator[str]:
    """Run the server on loopback; yield its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def measure(folder: Path, url: str) -> Measured:
    """Run one function in a fresh interpreter."""
    environ = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "ENDPOINT_NAME": "benchmark",
    }
    command = [sys.executable, "-c", CHILD, str(folder), str(CALLS)]
    event = json.dumps({"image": base64.b64encode(IMAGE).decode()})
    done = subprocess.run(command, input=event, env=environ, capture_output=True, text=True, timeout=120, check=True)
    return Measured(**json.loads(done.stdout))


def main() -> None:
    """Measure both in turns and print the ratios."""
    arguments(__doc__).parse_args()
    with endpoint() as url:
        for folder in (OURS, STOCK):
            measure(folder, url)  # not counted: it compiles the byte code and fills the file cache
        rounds = [(measure(OURS, url), measure(STOCK, url)) for _ in range(ROUNDS)]
    for ours, stock in rounds:
        if ours.answer != stock.answer:
            raise SystemExit(f"the responses of the two functions differ: {ours.answer} and {stock.answer}")
    rows = [row for what, name in TIMES.items() for row in figures_of(name, what, rounds)]
    publish(rows, [f"{CALLS} calls in each of the n processes."])


def figures_of(name: str, what: str, rounds: Sequence[tuple[Measured, Measured]]) -> list[Figure]:
    """Return the ratio of one of the times, and the times of both functions."""
    mine, theirs = ([getattr(pair[side], what) for pair in rounds] for side in (0, 1))
    return [
        ratio_of(name, mine, theirs, GOALS.get(what, "")),
        of(f"{name}, kennel's", mine, "ms"),
        of(f"{name}, boto3", theirs, "ms"),
    ]


if __name__ == "__main__":
    main()
