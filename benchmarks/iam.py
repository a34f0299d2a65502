"""Measure what enforcing IAM adds to a request: processor time in the gate, and the rate of InvokeEndpoint.

`python -m benchmarks.iam` prints a row for each measurement, with its goal. Processor time: the same requests go to an
application with and without the gate before it, in turns; the caller is a role's session whose policy names resources.
The rate, and the processor time of the server for a request: two servers with the same endpoint, `--iam enforce` and
`--iam off`, in turns. On a machine that others use, processor time is the one to look at.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Figure, arguments, publish
from benchmarks.localaws_front import CLIENTS, ROUNDS, localaws, rate_of, serve_model, server_of
from benchmarks.localaws_front import REQUESTS as REQUESTS_OF_A_CLIENT
from localaws.auth.keys import Keys
from localaws.auth.root_key import new
from localaws.auth.signature_gate import BODY
from localaws.auth.verifier import Signed
from localaws.permissions.authority import Authority
from localaws.permissions.gate import PermissionGate

ACCOUNT, REGION = "123456789012", "us-east-1"
REQUESTS = 2000
HOT_MICROSECONDS, OTHER_MICROSECONDS, LEAST_RATE_RATIO = 30, 300, 0.97
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["sagemaker:InvokeEndpoint", "sagemaker:DescribeEndpoint"],
            "Resource": [f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/kennel-bench"],
        },
        {"Effect": "Allow", "Action": ["lambda:InvokeFunction"], "Resource": [f"arn:aws:lambda:{REGION}:{ACCOUNT}:*"]},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::kennel-bench/*"]},
    ],
}


@dataclass(frozen=True)
class Asked:
    """A request to be decided."""

    name: str
    service: str
    method: str
    path: str
    goal_microseconds: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None


DESCRIBE = ((b"x-amz-target", b"SageMaker.DescribeEndpoint"), (b"content-type", b"application/x-amz-json-1.1"))
EVERY = (
    Asked("InvokeEndpoint", "sagemaker", "POST", "/endpoints/kennel-bench/invocations", HOT_MICROSECONDS),
    Asked("Lambda Invoke", "lambda", "POST", "/2015-03-31/functions/kennel-f/invocations", HOT_MICROSECONDS),
    Asked("S3 GetObject", "s3", "GET", "/kennel-bench/k", OTHER_MICROSECONDS),
    Asked(
        "DescribeEndpoint",
        "sagemaker",
        "POST",
        "/",
        OTHER_MICROSECONDS,
        headers=DESCRIBE,
        body=b'{"EndpointName": "kennel-bench"}',
    ),
)


def main() -> None:
    """Measure and print."""
    arguments(__doc__).parse_args()
    publish([*processor_time(), *ratios()])


def processor_time() -> Iterator[Figure]:
    """Measure the processor time that the gate adds to each kind of request, least of rounds."""
    gate, access_key_id = _gate()
    for asked in EVERY:
        scope = _scope(asked, access_key_id)
        taken: dict[str, list[float]] = {"gate": [], "bare": []}
        for _ in range(ROUNDS * 3):
            for name, app in (("gate", gate), ("bare", _answer)):
                before = time.thread_time()
                asyncio.run(_many(app, scope))
                taken[name].append((time.thread_time() - before) / REQUESTS * 1e6)
        cost, goal = min(taken["gate"]) - min(taken["bare"]), f"goal <= {asked.goal_microseconds}"
        yield Figure(f"deciding {asked.name}, CPU, least of rounds", cost, "us", ROUNDS * 3 * REQUESTS, goal)


def ratios() -> Iterator[Figure]:
    """Measure rate and processor time of InvokeEndpoint with policies enforced, as multiples of those without."""
    with ExitStack() as stack:
        urls = {mode: stack.enter_context(localaws("--iam", mode)) for mode in ("off", "enforce")}
        rates: dict[str, list[float]] = {mode: [] for mode in urls}
        busy: dict[str, list[float]] = {mode: [] for mode in urls}
        for url in urls.values():
            serve_model(url)
        for turn in range(ROUNDS):
            for mode in sorted(urls, reverse=turn % 2 == 1):
                before = _busy_seconds(urls[mode])
                rates[mode].append(rate_of(urls[mode]))
                busy[mode].append((_busy_seconds(urls[mode]) - before) / (CLIENTS * REQUESTS_OF_A_CLIENT) * 1e6)
    off, on = (sum(busy[mode]) / ROUNDS for mode in ("off", "enforce"))
    asked = f"InvokeEndpoint, {CLIENTS} clients, enforce / off"
    ratio = statistics.median(one / other for one, other in zip(rates["enforce"], rates["off"], strict=True))
    yield Figure(f"{asked}, rate, median of rounds", ratio, "x", ROUNDS, f"goal >= {LEAST_RATE_RATIO}")
    yield Figure(f"{asked}, CPU of all rounds", on / off, "x", ROUNDS, f"goal <= {1 / LEAST_RATE_RATIO:.2f}")
    yield Figure("  CPU of a request with it off, mean", off, "us", ROUNDS)
    yield Figure("  CPU that enforcing adds, difference of means", on - off, "us", ROUNDS, "goal <= 30")


def _busy_seconds(url: str) -> float:
    """Return the processor time of the server that listens there, without its children's."""
    times = server_of(url).cpu_times()
    return float(times.user + times.system)


def _gate() -> tuple[PermissionGate, str]:
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
    role = iam_backends[ACCOUNT]["aws"].create_role("bench", trust, "/", None, "", [], "3600")
    role.put_policy("bench", json.dumps(POLICY))
    session: Any = sts_backends[ACCOUNT]["aws"].assume_role(REGION, "bench", role.arn, "", 3600, "")
    session.role_id = role.id
    authority = Authority(ACCOUNT, REGION, "enforce")
    return PermissionGate(_answer, authority, Keys(new(), ACCOUNT)), session.access_key_id


def _scope(asked: Asked, access_key_id: str) -> dict[str, Any]:
    scope = {
        "type": "http",
        "method": asked.method,
        "path": asked.path,
        "raw_path": asked.path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:4577"), (b"user-agent", b"Boto3/1"), *asked.headers],
        "localaws.signed": Signed(access_key_id, asked.service),
    }
    return scope if asked.body is None else {**scope, BODY: asked.body}


async def _many(app: Any, scope: dict[str, Any]) -> None:
    async def refused(_: Any) -> None:
        raise AssertionError("it was refused")

    for _ in range(REQUESTS):
        await app(dict(scope), None, refused)


async def _answer(_: Any, __: Any, ___: Any) -> None:
    pass


if __name__ == "__main__":
    main()
