"""Compare staging with `aws s3 sync` of the same images, and staging unchanged images again with the first staging.

    python -m benchmarks.staging [ZIP or FOLDER] [--images 3000] [--rounds 3]

The benchmark starts its own localaws. A is `aws s3 sync` of the unpacked images into a bucket; unpacking is not timed.
B is our staging of the same images from their zip (or folder): they are decoded, checked and sharded. C is our staging
again, without any change. A, B and C take turns, and the medians are printed.

Every round checks that all images arrived: for A by the number of objects and bytes, for B by comparing each digest of
images.jsonl with the shards' members. There is no real network and no real S3.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Figure, arguments, of, publish, ratio_of
from benchmarks.localaws_front import localaws
from tasks.account import objects
from tasks.data import staging
from tasks.data.judgement_cache import JudgementCache
from tasks.data.sample import make_sample
from tasks.data.upload import find_staged
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.progress import LineProgress
from tasks.run.records import SPLITS, DatasetRef
from tasks.run.settings import Settings

RUN = "benchmark"
GOAL_SYNC, GOAL_AGAIN = "goal >= 10", "goal >= 20"


@dataclass
class Times:
    """The seconds of each round: of `aws s3 sync`, of staging, and of staging again."""

    sync: list[float] = field(default_factory=list)
    stage: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)


def main() -> None:
    """Run all rounds and print the medians."""
    given = parse()
    with tempfile.TemporaryDirectory(prefix="staging-") as folder, localaws() as url:
        work = Path(folder)
        source = subset(given.source or make_sample(work), work / "images", given.images)
        count, size_bytes = measure(work / "images")
        what = f"{count:,} images, {size_bytes / 1e6:.1f} MB"
        print(f"{what}, {given.rounds} rounds", flush=True)
        times = Times()
        for number in range(given.rounds):
            run_round(work, url, source, (count, size_bytes), times, number)
        publish(figures_of(times), [f"{what}; the S3 is localaws, so no network takes part."])


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = arguments(__doc__)
    parser.add_argument("source", nargs="?", type=Path, help="a zip or folder; the default is the sample")
    parser.add_argument("--images", type=int, help="use about this many images, spread evenly over the source")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def run_round(work: Path, url: str, source: Path, expected: tuple[int, int], times: Times, number: int) -> None:
    """Run A, B and C once each, check their results and add their seconds to `times`.

    Raises:
        SystemExit: images are missing, or staging again returned another dataset.
    """
    aws = Aws(Settings(endpoint_url=url, home=work / f"home-{number}", runs=work / f"runs-{number}"))
    times.sync.append(sync(aws, work / "images", expected))
    seconds, dataset = stage(aws, source)
    check(aws, dataset, expected[0])
    times.stage.append(seconds)
    seconds, again = stage(aws, source)
    if again != dataset:
        raise SystemExit("staging again returned another dataset")
    times.again.append(seconds)
    seconds_each = f"sync {times.sync[-1]:.2f} s, staging {times.stage[-1]:.2f} s, again {times.again[-1]:.3f} s"
    print(f"round {number + 1}: {seconds_each}", flush=True)
    objects.delete_prefix(aws, aws.bucket, "datasets/")


def sync(aws: Aws, source: Path, expected: tuple[int, int]) -> float:
    """Return the seconds that `aws s3 sync` into a new bucket takes.

    Raises:
        SystemExit: the bucket has another number of objects or bytes than the folder.
    """
    bucket = "kennel-sync"
    aws.client("s3").create_bucket(Bucket=bucket)
    program = Path(sys.executable).with_name("aws")
    options = ["--quiet", "--endpoint-url", aws.endpoint, "--region", aws.region]
    begun = time.perf_counter()
    subprocess.run([program, "s3", "sync", *options, source, f"s3://{bucket}/images"], check=True)
    seconds = time.perf_counter() - begun
    stored = objects.list_objects(aws, bucket, "images/").values()
    found = (len(stored), sum(item.size_bytes for item in stored))
    if found != expected:
        raise SystemExit(f"sync: the bucket has (objects, bytes) = {found} instead of {expected}")
    objects.delete_prefix(aws, bucket, "images/")
    aws.client("s3").delete_bucket(Bucket=bucket)
    return seconds


def stage(aws: Aws, source: Path) -> tuple[float, DatasetRef]:
    """Stage the images like the flow does; return the seconds and the dataset."""
    begun = time.perf_counter()
    located = staging.locate(str(source), aws.settings, LineProgress)
    cache = JudgementCache(located, aws.settings)
    digest = cache.find()
    dataset = find_staged(aws, digest, located) if digest else None
    if dataset is None:
        dataset = staging.judge_and_upload(located, cache, Run(aws, RUN), LineProgress).dataset
    return time.perf_counter() - begun, dataset


def check(aws: Aws, dataset: DatasetRef, images: int) -> None:
    """Check that every image is in a shard with the digest that images.jsonl lists.

    Raises:
        SystemExit: an image is missing or differs.
    """
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
        raise SystemExit(f"staging: the shards hold {len(found)} of {images} images, or a digest differs")


def members(shard: bytes) -> Iterator[tuple[str, str]]:
    """Yield the name and the sha256 of each member of a shard."""
    with tarfile.open(fileobj=io.BytesIO(shard)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            yield member.name, hashlib.sha256(content.read() if content else b"").hexdigest()


def subset(source: Path, folder: Path, images: int | None) -> Path:
    """Write a source's images, or a part of them, to `folder`; return the folder or zip that staging reads."""
    if source.is_dir():
        names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
        for name in spread_evenly(names, images):
            write(folder / name, (source / name).read_bytes())
        return folder
    part = folder.with_suffix(".zip")
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(part, "w") as taken:
        names = sorted(name for name in archive.namelist() if not name.endswith("/") and ".." not in name)
        for name in spread_evenly(names, images):
            data = archive.read(name)
            write(folder / name, data)
            taken.writestr(name, data)
    return part


def spread_evenly(names: list[str], images: int | None) -> list[str]:
    """Return about `images` of the names, spread evenly over the list (None: all)."""
    return names[:: max(1, len(names) // images)] if images else names


def write(path: Path, data: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def measure(folder: Path) -> tuple[int, int]:
    """Return the number of files and of bytes in a folder and its subfolders."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def figures_of(times: Times) -> list[Figure]:
    """Return the speed-ups, and the seconds of each part."""
    return [
        ratio_of("staging", times.stage, times.sync, GOAL_SYNC),
        ratio_of("staging again, against staging", times.again, times.stage, GOAL_AGAIN),
        of("aws s3 sync", times.sync, "s"),
        of("staging, seconds", times.stage, "s"),
        of("staging again", times.again, "s"),
    ]


if __name__ == "__main__":
    main()
