"""Measure how fast localaws starts, stores small objects and forwards `InvokeEndpoint`.

`python -m benchmarks.localaws_front` prints a row for each measurement, with its goal if it has one. The endpoint's
model is an `inference.py` that responds with 36 bytes to a 50 kB body, so the time is spent in localaws's front server
and the model server's HTTP. The overhead is the difference to the same requests sent directly to the model server, in
turns. Moto's own server is measured with the same S3 client. Every response is checked.
"""

import asyncio
import functools
import hashlib
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

from benchmarks.figures import Figure, arguments, publish
from localaws.auth.keys import Key
from localaws.auth.root_key import keep, new
from localaws.auth.signature_gate import SignatureGate
from localaws.auth.verifier import Verifier
from localaws.record import read_record
from localaws.sagemaker.model_server import TOKEN, TOKEN_HEADER

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312"
MODEL = """
def model_fn(model_dir): return None
def input_fn(data, content_type): return data
def predict_fn(data, model): return len(data)
def output_fn(size, accept): return '{"size": %d, "labels": [1, 2, 3]}' % size, "application/json"
"""
SERVICE = {"Principal": {"Service": "sagemaker.amazonaws.com"}}
ASSUMES = {"Effect": "Allow", **SERVICE, "Action": "sts:AssumeRole"}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [ASSUMES]})
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
MAY_ALL = json.dumps({"Version": "2012-10-17", "Statement": [EVERYTHING]})
KEY = new()  # of all servers of this process
PATH = "/endpoints/bench/invocations"
BODY = os.urandom(50_000)
ROUNDS = 7
REQUESTS = 300
CLIENTS = 8
SMALL_OBJECTS = 200
DEADLINE_SECONDS = 60.0


def main() -> None:
    """Measure and print."""
    arguments(__doc__).parse_args()
    rows = [start_seconds(), signature_microseconds()]
    with localaws() as url, moto_server() as moto:
        rows += puts_per_second(url, moto)
        rows += invocations(url)
    publish(rows)


def start_seconds() -> Figure:
    """Measure `python -m localaws start`, which returns when the server responds."""
    seconds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as home:
            before = time.perf_counter()
            run_localaws("start", "--home", home, "--port", "0")
            seconds.append(time.perf_counter() - before)
            run_localaws("stop", "--home", home)
    return Figure("start until it answers, median", statistics.median(seconds), "s", ROUNDS, "goal <= 3")


def signature_microseconds() -> Figure:
    """Measure the processor time that the check of a signature adds to an InvokeEndpoint, beyond the hash of its 50 kB.

    The same request goes to an application with and without the gate before it, in turns.
    """
    key = ReadOnlyCredentials("AKID", "secret", None)
    headers = signed_headers("http://127.0.0.1:4577/endpoints/bench/invocations", BODY, key)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/endpoints/bench/invocations",
        "raw_path": b"/endpoints/bench/invocations",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    gate: Any = SignatureGate(_read_body, Verifier(lambda _: Key("secret")), token="t")
    ways: dict[str, Callable[[], Any]] = {
        "gate": lambda: asyncio.run(_many(gate, scope)),
        "bare": lambda: asyncio.run(_many(_read_body, scope)),
        "hash": lambda: [hashlib.sha256(BODY).digest() for _ in range(REQUESTS)],
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS * 3):
        for name, run in ways.items():
            before = time.thread_time()
            run()
            taken[name].append((time.thread_time() - before) / REQUESTS * 1e6)
    least = {name: min(seconds) for name, seconds in taken.items()}
    cost = least["gate"] - least["bare"] - least["hash"]
    return Figure("the signature of InvokeEndpoint, least of rounds", cost, "us", ROUNDS * 3 * REQUESTS, "goal <= 60")


async def _many(app: Any, scope: dict[str, Any]) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(_: Any) -> None:
        raise AssertionError("it was refused")

    for _ in range(REQUESTS):
        await app(dict(scope), receive, send)


async def _read_body(_: Any, receive: Any, __: Any) -> None:
    assert (await receive())["body"] == BODY


def puts_per_second(url: str, moto: str) -> list[Figure]:
    """Measure storing 4 kB objects with one boto3 client, in localaws and in moto's server in turns."""
    clients = {"localaws": client("s3", url), "moto's server": client("s3", moto)}
    rates: dict[str, list[float]] = {name: [] for name in clients}
    for each in clients.values():
        each.create_bucket(Bucket="bench")
    for _ in range(ROUNDS):
        for name, s3 in clients.items():
            before = time.perf_counter()
            for number in range(SMALL_OBJECTS):
                s3.put_object(Bucket="bench", Key=f"small/{number}", Body=BODY[:4096])
            rates[name].append(SMALL_OBJECTS / (time.perf_counter() - before))
            assert len(s3.list_objects_v2(Bucket="bench")["Contents"]) == SMALL_OBJECTS
    return [Figure(f"S3 puts of 4 kB, {name}", statistics.median(rates[name]), "/s", ROUNDS) for name in rates]


def invocations(url: str) -> list[Figure]:
    """Measure InvokeEndpoint with 50 kB, through the front and directly in turns, and then the highest rate."""
    port, token = serve_model(url)
    ways: dict[str, Callable[[int], list[float]]] = {
        "through the front": lambda count: ask(url, PATH, count),
        "directly": lambda count: ask(f"http://127.0.0.1:{port}", "/invocations", count, {TOKEN_HEADER: token}),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            taken[name] += way(REQUESTS)
    medians = {name: statistics.median(seconds) * 1000 for name, seconds in taken.items()}
    count = ROUNDS * REQUESTS
    overhead = medians["through the front"] - medians["directly"]
    return [
        *(Figure(f"InvokeEndpoint 50 kB {name}, median", value, "ms", count) for name, value in medians.items()),
        Figure("overhead of the front, difference of medians", overhead, "ms", count, "goal <= 2"),
        Figure(f"InvokeEndpoint, {CLIENTS} clients, median rate", *_rate(url)),
    ]


def _rate(url: str) -> tuple[float, str, int, str]:
    rates = [rate_of(url) for _ in range(ROUNDS)]
    return statistics.median(rates), "/s", ROUNDS, "goal >= 1500, the client's CPU on the same cores included"


def rate_of(url: str) -> float:
    """Return how many requests a second the endpoint `bench` answers to all clients."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        before = time.perf_counter()
        list(pool.map(lambda _: ask(url, PATH, REQUESTS), range(CLIENTS)))
        return CLIENTS * REQUESTS / (time.perf_counter() - before)


def ask(url: str, path: str, count: int, more: Mapping[str, str] | None = None) -> list[float]:
    """Send `count` requests over one connection, without the overhead of an SDK; return the seconds of each.

    `more`: headers that are not signed.
    """
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=DEADLINE_SECONDS)
    headers = signed_headers(url + path, BODY) | dict(more or {})  # once: it holds for a quarter of an hour
    seconds = []
    for _ in range(count):
        before = time.perf_counter()
        connection.request("POST", path, BODY, headers)
        answer = connection.getresponse()
        content = answer.read()
        seconds.append(time.perf_counter() - before)
        assert answer.status == 200 and json.loads(content)["size"] == len(BODY), content
    connection.close()
    return seconds


def signed_headers(url: str, body: bytes, key: ReadOnlyCredentials | None = None) -> dict[str, str]:
    """Return the headers of an InvokeEndpoint, signed with the environment's key if no other is given."""
    key = key or ReadOnlyCredentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], None)
    request = AWSRequest("POST", url, {"Content-Type": "image/jpeg", "Host": urlsplit(url).netloc}, body)
    SigV4Auth(key, "sagemaker", "us-east-1").add_auth(request)
    return dict(request.headers.items())


def make_role(url: str, name: str, trust: str = TRUST) -> str:
    """Create a role that may do everything, SageMaker's if no other service's; return its ARN."""
    iam = client("iam", url)
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=MAY_ALL)
    return str(role)


def serve_model(url: str) -> tuple[int, str]:
    """Create the endpoint `bench`, and its bucket if there is none; return its model server's port and token."""
    client("s3", url).create_bucket(Bucket="bench")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(MODEL)
        tar.addfile(member, io.BytesIO(MODEL.encode()))
    client("s3", url).put_object(Bucket="bench", Key="model.tar.gz", Body=archive.getvalue())
    role = make_role(url, "bench")
    sagemaker = client("sagemaker", url)
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz"}
    sagemaker.create_model(ModelName="bench", PrimaryContainer=container, ExecutionRoleArn=role)
    variant = {"VariantName": "a", "ModelName": "bench", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
    before = _listening(url)
    sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
    wait_until(lambda: sagemaker.describe_endpoint(EndpointName="bench")["EndpointStatus"] == "InService")
    (found,) = _listening(url) - before
    return found


def server_of(url: str) -> psutil.Process:
    """Return the server that listens there."""
    port = urlsplit(url).port
    every = psutil.net_connections("tcp4")
    pid = next(each.pid for each in every if each.status == "LISTEN" and each.laddr and each.laddr.port == port)
    return psutil.Process(pid)


def _listening(url: str) -> set[tuple[int, str]]:
    """Return ports and tokens of a server's model servers; other servers may run on the machine."""
    own = {each.pid: each for each in server_of(url).children(recursive=True) if _is_model_server(each)}
    listening = [each for each in psutil.net_connections("tcp4") if each.status == "LISTEN" and each.pid in own]
    return {(each.laddr.port, own[each.pid].environ()[TOKEN]) for each in listening if each.laddr and each.pid}


def _is_model_server(process: psutil.Process) -> bool:
    return "localaws.sagemaker.model_server" in " ".join(process.cmdline())


@contextmanager
def localaws(*options: str) -> Iterator[str]:
    """Run localaws with these options of `start`; yield its URL; from then on this process has its key."""
    with tempfile.TemporaryDirectory() as home:
        keep(Path(home), KEY)
        run_localaws("start", "--home", home, "--port", "0", *options)
        try:
            record = read_record(Path(home))
            assert record is not None
            os.environ.update(record.environment)
            yield record.url
        finally:
            run_localaws("stop", "--home", home)


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's own server; yield its URL."""
    command = [sys.executable, "-c", MOTO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


MOTO = """
import time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
time.sleep(3600)
"""


@functools.cache
def client(service: str, url: str) -> Any:
    """Return a boto3 client that does not retry; it is cached, because making one takes tens of milliseconds."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )


def run_localaws(*arguments: str) -> None:
    """Run `python -m localaws` with these arguments and wait for its end."""
    subprocess.run([sys.executable, "-m", "localaws", *arguments], check=True, capture_output=True, timeout=60)


def wait_until(is_true: Callable[[], bool]) -> None:
    """Check a condition every 10 ms until it is true.

    Raises:
        TimeoutError: it was still false after a minute.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition was not true within {DEADLINE_SECONDS:.0f} s")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
