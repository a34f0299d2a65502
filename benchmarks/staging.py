"""Staging against `aws s3 sync` of the same images, and staging again what is unchanged.

    .venv/bin/python benchmarks/staging.py [ZIP or FOLDER] [--images 3000] [--rounds 3]

Starts a localaws of its own. A: `aws s3 sync` of the unpacked images into a bucket, as one would type it (unpacking is
not counted). B: our staging of the same images from the zip they came in (or the folder), decoded, judged and sharded.
C: our staging again, nothing having changed. A, B and C take turns; medians. Every round checks that all images arrived
(sync: the number of objects and of bytes; ours: every digest of images.jsonl against the members of the shards). Not
measured: a network, a real S3.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.account import objects
from tasks.data import staging
from tasks.data.memory import Memory
from tasks.data.sample import make_sample
from tasks.run.aws import Aws
from tasks.run.machine import hardware
from tasks.run.progress import LineProgress
from tasks.run.records import SPLITS, DatasetRef
from tasks.run.settings import Settings

RUN = "benchmark"
READY_SECONDS = 60
GOAL_SYNC, GOAL_AGAIN = 10.0, 20.0


@dataclass
class Times:
    """Seconds of each round."""

    sync: list[float] = field(default_factory=list)
    stage: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="staging-") as folder, localaws(Path(folder) / "localaws") as url:
        work = Path(folder)
        source = subset(arguments.source or make_sample(work), work / "images", arguments.images)
        count, size_bytes = measure(work / "images")
        print(f"{count:,} images, {size_bytes / 1e6:.1f} MB, {arguments.rounds} rounds, {hardware()}", flush=True)
        times = Times()
        for number in range(arguments.rounds):
            run_round(work, url, source, (count, size_bytes), times, number)
        report(times)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="a zip or folder; the sample when left out")
    parser.add_argument("--images", type=int, help="only about so many images, evenly taken")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def run_round(work: Path, url: str, source: Path, expected: tuple[int, int], times: Times, number: int) -> None:
    aws = Aws(Settings(endpoint_url=url, home=work / f"home-{number}", runs=work / f"runs-{number}"))
    times.sync.append(sync(aws, work / "images", expected))
    seconds, dataset = stage(aws, source)
    check(aws, dataset, expected[0])
    times.stage.append(seconds)
    seconds, again = stage(aws, source)
    if again != dataset:
        raise SystemExit("staging again gave another dataset")
    times.again.append(seconds)
    print(f"round {number + 1}: {times.sync[-1]:.2f} s, {times.stage[-1]:.2f} s, {times.again[-1]:.3f} s", flush=True)
    objects.delete_prefix(aws, aws.bucket, "datasets/")


def sync(aws: Aws, source: Path, expected: tuple[int, int]) -> float:
    """Return the seconds that `aws s3 sync` takes into a new bucket."""
    bucket = "kennel-sync"
    aws.client("s3").create_bucket(Bucket=bucket)
    program = Path(sys.executable).with_name("aws")
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    options = ["--quiet", "--endpoint-url", aws.endpoint, "--region", aws.region]
    begun = time.perf_counter()
    subprocess.run([program, "s3", "sync", *options, source, f"s3://{bucket}/images"], env=environment, check=True)
    seconds = time.perf_counter() - begun
    stored = objects.list_objects(aws, bucket, "images/").values()
    found = (len(stored), sum(item.size_bytes for item in stored))
    if found != expected:
        raise SystemExit(f"sync: {found} arrived of {expected}")
    objects.delete_prefix(aws, bucket, "images/")
    aws.client("s3").delete_bucket(Bucket=bucket)
    return seconds


def stage(aws: Aws, source: Path) -> tuple[float, DatasetRef]:
    """Do what the flow does; return its seconds and the dataset."""
    begun = time.perf_counter()
    located = staging.locate(str(source), aws.settings, LineProgress)
    memory = Memory(located, aws.settings)
    digest = memory.recall()
    dataset = staging.find_staged(aws, digest, located) if digest else None
    if dataset is None:
        dataset = staging.judge_and_upload(located, memory, aws, RUN, LineProgress).dataset
    return time.perf_counter() - begun, dataset


def check(aws: Aws, dataset: DatasetRef, images: int) -> None:
    """Stop unless every image is in a shard with the digest that images.jsonl says."""
    listed = objects.read_object(aws, aws.bucket, f"{dataset.prefix}/images.jsonl") or b""
    rows = [json.loads(line) for line in listed.splitlines()]
    wanted = {(row["shard"], row["member"]): row["sha256"] for row in rows}
    found: dict[tuple[str, str], str] = {}
    for split in SPLITS:
        for number in range(dataset.shards[split]):
            key = f"{split}/shard-{number:05d}.tar"
            data = objects.read_object(aws, aws.bucket, f"{dataset.prefix}/{key}") or b""
            found.update(((key, name), digest) for name, digest in members(data))
    if found != wanted or len(found) != images or dataset.images() != images:
        raise SystemExit(f"staging: {len(found)} of {images} images arrived as they should")


def members(shard: bytes) -> Iterator[tuple[str, str]]:
    with tarfile.open(fileobj=io.BytesIO(shard)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            yield member.name, hashlib.sha256(content.read() if content else b"").hexdigest()


def subset(source: Path, folder: Path, images: int | None) -> Path:
    """Unpack (a part of) a source into a folder, and pack a part of a zip again; return what our side reads."""
    if source.is_dir():
        names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
        for name in every(names, images):
            copy(folder / name, (source / name).read_bytes())
        return folder
    part = folder.with_suffix(".zip")
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(part, "w") as taken:
        names = sorted(name for name in archive.namelist() if not name.endswith("/") and ".." not in name)
        for name in every(names, images):
            data = archive.read(name)
            copy(folder / name, data)
            taken.writestr(name, data)
    return part


def every(names: list[str], images: int | None) -> list[str]:
    return names[:: max(1, len(names) // images)] if images else names


def copy(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def measure(folder: Path) -> tuple[int, int]:
    """Return the number of files and of bytes below a folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def report(times: Times) -> None:
    sync_s, stage_s, again_s = (statistics.median(values) for values in (times.sync, times.stage, times.again))
    rounds = len(times.sync)
    print(f"aws s3 sync   {sync_s:8.2f} s (median of {rounds})")
    print(f"staging       {stage_s:8.2f} s  {sync_s / stage_s:6.1f} x sync   (goal: {GOAL_SYNC:g} x)")
    print(f"staging again {again_s:8.3f} s  {stage_s / again_s:6.1f} x staging (goal: {GOAL_AGAIN:g} x)")


@contextmanager
def localaws(home: Path) -> Iterator[str]:
    """Run a localaws on a free port; yield its URL."""
    home.mkdir(parents=True)
    output = home / "output.txt"
    with output.open("w") as file:
        command = [sys.executable, "-m", "localaws", "--home", str(home), "--port", "0"]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield wait_for_url(output, server)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(home, ignore_errors=True)


def wait_for_url(output: Path, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        found = re.search(r"^export AWS_ENDPOINT_URL=(\S+)$", output.read_text(), re.MULTILINE)
        if found:
            return found[1]
        time.sleep(0.02)
    raise SystemExit(f"localaws did not start: {output.read_text()}")


if __name__ == "__main__":
    main()
