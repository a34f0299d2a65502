"""Compare our Locust client with HttpUser, FastHttpUser and boto3, in requests per second of CPU time.

`python -m benchmarks.locust_clients` prints the requests per second of CPU time of each client, and its ratio to
HttpUser. All clients post the same JPEG to the same no-op server and report to Locust's statistics. Our client and
boto3 sign each request; the other two do not. The clients run in turns, each in a process of its own. The server must
have counted exactly the requests of the client, all with status 200. Our client is measured as it is used: with Poisson
arrivals at a rate, and with the timer and the counting of the open model.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.figures import Figure, arguments, of, publish, ratio_of

ROOT = Path(__file__).parents[1]
SERVER = ROOT / "tests" / "loadtest" / "invoke_server.py"
CLIENTS = ("HttpUser", "FastHttpUser", "boto3", "kennel")
ROUNDS = 7
SECONDS = 1.5
USERS = 10
RATE_PER_SECOND = 4000.0
PATH = "/endpoints/steady/invocations"
GOAL = "goal >= 4.5"


def main() -> None:
    """Run all rounds and print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        print(json.dumps(measure(given.client, given.url)))
        return
    rates: dict[str, list[float]] = {client: [] for client in CLIENTS}
    for number in range(given.rounds):
        for client in CLIENTS:
            rates[client].append(one_round(client))
            print(
                f"round {number + 1} of {given.rounds}: {client} {rates[client][-1]:.0f} requests per CPU second",
                flush=True,
            )
    publish(figures_of(rates), [f"Requests a second of the client's own processor time; locust {version('locust')}."])


def figures_of(rates: dict[str, list[float]]) -> list[Figure]:
    """Return the ratio of each client to HttpUser, and the rates."""
    ratios = [
        ratio_of(client, rates["HttpUser"], rates[client], GOAL if client == "kennel" else "")
        for client in rates
        if client != "HttpUser"
    ]
    return [*ratios, *(of(f"{client}, a core", values, "/s") for client, values in rates.items())]


def one_round(client: str) -> float:
    """Return a client's requests per second of its own CPU time.

    Raises:
        RuntimeError: a request failed, or the server counted other requests than the client.
    """
    with no_op_server() as url:
        command = [sys.executable, "-m", "benchmarks.locust_clients", "--client", client, "--url", url]
        output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
        result = json.loads(output.splitlines()[-1])
        with urllib.request.urlopen(f"{url}/counts", timeout=5) as answer:
            counted = json.loads(answer.read())
    if result["failures"] or counted != {"200": result["requests"]}:
        raise RuntimeError(f"{client} reports {result}, but the server counted {counted}")
    return float(result["requests"] / result["cpu_seconds"])


@contextmanager
def no_op_server() -> Iterator[str]:
    """Run a server that responds to every request at once; yield its URL."""
    with subprocess.Popen(
        [sys.executable, str(SERVER), json.dumps(["busy"])], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def measure(client: str, url: str) -> dict[str, Any]:
    """Run one client in this process, inside Locust; return its requests, failures and CPU seconds."""
    import gevent
    from locust.env import Environment

    users = {"HttpUser": http_user, "FastHttpUser": fast_http_user, "boto3": boto3_user, "kennel": kennel_user}
    environment = Environment(user_classes=[users[client](url)], host=url, stop_timeout=10)
    runner = environment.create_local_runner()
    used = time.process_time()
    runner.start(1 if client == "kennel" else USERS, spawn_rate=USERS)
    gevent.sleep(SECONDS)
    runner.stop()
    total = environment.stats.total
    cpu_seconds = time.process_time() - used
    return {"requests": total.num_requests, "failures": total.num_failures, "cpu_seconds": cpu_seconds}


def picture() -> bytes:
    """Return a JPEG of about 10 kB."""
    buffer = io.BytesIO()
    Image.effect_noise((128, 128), 40).convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def posting(base: Any, url: str) -> Any:
    """Return a user class, derived from one of Locust's two HTTP users, that posts the picture repeatedly."""
    from locust import task

    body, headers = picture(), {"Content-Type": "image/jpeg"}

    class PostingUser(base):  # type: ignore[misc]
        host = url

        @task
        def post(self) -> None:
            self.client.post(PATH, data=body, headers=headers)

    return PostingUser


def http_user(url: str) -> Any:
    """Return a user class based on Locust's HttpUser (requests)."""
    from locust import HttpUser

    return posting(HttpUser, url)


def fast_http_user(url: str) -> Any:
    """Return a user class based on Locust's FastHttpUser (geventhttpclient)."""
    from locust import FastHttpUser

    return posting(FastHttpUser, url)


def boto3_user(url: str) -> Any:
    """Return a user class that calls InvokeEndpoint with boto3 and reports the latency to Locust."""
    import boto3
    from botocore.config import Config
    from locust import User, task

    keys = {"aws_access_key_id": "AKID", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    config = Config(max_pool_connections=USERS)
    client, body = boto3.client("sagemaker-runtime", endpoint_url=url, config=config, **keys), picture()

    class Boto3User(User):
        @task
        def invoke(self) -> None:
            sent = time.perf_counter()
            answer = client.invoke_endpoint(EndpointName="steady", Body=body, ContentType="image/jpeg")["Body"].read()
            took_ms = 1000 * (time.perf_counter() - sent)
            report_to_locust(self, took_ms, len(answer))

    return Boto3User


def kennel_user(url: str) -> Any:
    """Return a user class that runs our open model: Poisson arrivals, signed requests, latency from the due time."""
    import gevent
    from botocore.credentials import ReadOnlyCredentials
    from locust import User, task

    from loadtest.arrivals import Stage, poisson_arrivals
    from loadtest.connection import Connection
    from loadtest.open_loop import Bounds, OpenLoop, Wire
    from loadtest.signing import Payload, Signer
    from loadtest.targets import LoadTarget

    target = LoadTarget("endpoint", "steady", None, url, "us-east-1")
    signer = Signer(target.route, lambda: ReadOnlyCredentials("AKID", "secret", None))
    payload = Payload.of("picture", picture(), "image/jpeg")
    schedule = [Stage(RATE_PER_SECOND, SECONDS * 0.9)]

    def connect() -> Connection:
        return Connection(target.host, target.port, is_tls=False, timeout_seconds=10)

    class KennelUser(User):
        @task
        def generate(self) -> None:
            wire = Wire(connect, signer.request, target.judge, [payload])
            loop = OpenLoop(
                wire, Bounds(0.0, 30.0, 256), lambda took, _, size: report_to_locust(self, 1000 * took, size)
            )
            loop.run(poisson_arrivals(schedule, seed=1))
            gevent.sleep(SECONDS)

    return KennelUser


def report_to_locust(user: Any, took_ms: float, size: int) -> None:
    """Report a request to Locust's statistics like Locust's own clients do."""
    user.environment.events.request.fire(
        request_type="POST", name=PATH, response_time=took_ms, response_length=size, exception=None, context={}
    )


if __name__ == "__main__":
    main()
