"""Use a localaws for long and watch that it does not grow: memory stays flat, no descriptor, thread or process is left.

`python -m benchmarks.soak --minutes 60` makes, uses and removes objects, functions, roles and log groups in rounds. All
of a round is removed in it, and the names are new ones each time. After each tenth of the time the server is left alone
for a moment and looked at. The first three tenths are for warming up: caches with bounds fill. The exit status is 1 if
the memory grew by more than 5 % from then on, or if descriptors, threads or processes are left.
"""

import argparse
import sys
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.lambda_invoke import archive_of
from benchmarks.localaws_front import MAY_ALL, client, localaws, server_of
from benchmarks.localaws_front import TRUST as SAGEMAKER_TRUST
from benchmarks.localaws_s3 import BUCKET, send_all, signed
from localaws.front import WSGI_THREADS
from tasks.run.machine import hardware

TRUST = SAGEMAKER_TRUST.replace("sagemaker", "lambda")
HANDLER = "def handler(event, context):\n    print('called')\n    return 'done'\n"
LOOKS, WARM_LOOKS = 10, 3
POOLED = 2 * WSGI_THREADS
SETTLE_SECONDS = 3.0
GROWTH = 1.05
SMALL, LARGE, PART = bytes(4096), bytes(300_000), bytes(5 * 2**20)


@dataclass(frozen=True)
class Look:
    """The server at one moment. `rounds`: that were done by then."""

    minutes: float
    rounds: int
    resident_mib: float
    descriptors: int
    threads: int
    processes: int

    @property
    def line(self) -> str:
        """A row of the table."""
        counts = f"{self.descriptors:6} {self.threads:8} {self.processes:10}"
        return f"{self.minutes:8.1f} {self.rounds:7} {self.resident_mib:8.1f} {counts}"


def main(arguments: Sequence[str]) -> int:
    """Run the rounds and print what was seen; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    minutes = parser.parse_args(arguments).minutes
    print(f"{hardware()}\n minutes  rounds      MiB  files  threads  processes")
    with localaws() as url:
        looks = soaked(url, minutes)
    faults = grown(looks)
    print("\n".join(faults) or "nothing grew and nothing is left")
    return 1 if faults else 0


def soaked(url: str, minutes: float) -> list[Look]:
    """Return what was seen at each look."""
    _fill_pools(url)
    looks, rounds, begun = list[Look](), 0, time.monotonic()
    for number in range(1, LOOKS + 1):
        while time.monotonic() < begun + minutes * 60 * number / LOOKS:
            one_round(url)
            rounds += 1
        time.sleep(SETTLE_SECONDS)
        looks.append(_look(url, (time.monotonic() - begun) / 60, rounds))
        print(looks[-1].line, flush=True)
    return looks


def grown(looks: Sequence[Look]) -> list[str]:
    """Return what a server may not do after it is warm, one sentence each."""
    warm, last = looks[WARM_LOOKS - 1 :], looks[-1]
    faults = []
    if last.resident_mib > warm[0].resident_mib * GROWTH:
        faults.append(f"the memory grew from {warm[0].resident_mib:.1f} to {last.resident_mib:.1f} MiB")
    for name in ("descriptors", "threads", "processes"):
        before, after = getattr(warm[0], name), getattr(last, name)
        if after > before:
            faults.append(f"{after - before} {name} more than before are left")
    return faults


def _look(url: str, minutes: float, rounds: int) -> Look:
    server = server_of(url)
    resident = server.memory_info().rss / 2**20
    children = len(server.children(recursive=True))
    return Look(minutes, rounds, resident, server.num_fds(), server.num_threads(), children)


def _fill_pools(url: str) -> None:
    """Ask as much at once as the server has threads for, which it makes when they are needed, up to a bound."""
    client("s3", url).create_bucket(Bucket=BUCKET)
    request = signed(url, "GET", "", query="?versions=")  # which moto answers, in a thread
    with ThreadPoolExecutor(POOLED) as pool:
        for each in [pool.submit(send_all, url, [request] * 20) for _ in range(POOLED)]:
            each.result()


def one_round(url: str) -> None:
    """Make, use and remove something of each kind."""
    name = f"soak-{uuid.uuid4().hex[:12]}"
    _objects(client("s3", url), name)
    role = _role(client("iam", url), name)
    _function(client("lambda", url), client("logs", url), name, role)
    _remove_role(client("iam", url), name)


def _objects(s3: Any, bucket: str) -> None:
    s3.create_bucket(Bucket=bucket)
    for number in range(100):
        s3.put_object(Bucket=bucket, Key=f"folder-{number % 10}/{number}", Body=SMALL, Metadata={"number": str(number)})
    s3.put_object(Bucket=bucket, Key="large", Body=LARGE, Tagging="a=1")
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == LARGE
    _in_parts(s3, bucket)
    names = [each["Key"] for page in _pages(s3, bucket) for each in page.get("Contents", ())]
    assert len(names) == 102, names
    for each in names[::4]:
        assert s3.get_object(Bucket=bucket, Key=each)["Body"].read()
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": each} for each in names[::2]]})
    for each in names[1::2]:
        s3.delete_object(Bucket=bucket, Key=each)
    s3.delete_bucket(Bucket=bucket)


def _pages(s3: Any, bucket: str) -> Any:
    return s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 30})


def _in_parts(s3: Any, bucket: str) -> None:
    upload = {"Bucket": bucket, "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=PART)["ETag"]}
        for number in (1, 2)
    ]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def _role(iam: Any, name: str) -> str:
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=MAY_ALL)
    return str(role)


def _remove_role(iam: Any, name: str) -> None:
    iam.delete_role_policy(RoleName=name, PolicyName="everything")
    iam.delete_role(RoleName=name)


def _function(functions: Any, logs: Any, name: str, role: str) -> None:
    about = {"Runtime": "python3.11", "Handler": "handler.handler", "Role": role}
    functions.create_function(FunctionName=name, Code={"ZipFile": archive_of(HANDLER)}, **about)
    for _ in range(3):
        assert functions.invoke(FunctionName=name, Payload=b"{}")["Payload"].read() == b'"done"'
    functions.delete_function(FunctionName=name)
    logs.delete_log_group(logGroupName=f"/aws/lambda/{name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
