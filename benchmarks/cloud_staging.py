"""Compare staging by a job of one host with one of two: the time in which the photos are read and decoded.

    python -m benchmarks.cloud_staging [--images 400] [--side 1600] [--repeats 3]

Each host has one core: the server of the job of one host, with all that it starts, is kept on one core, that of the job
of two hosts on two, of which each host has its own. The photos are made, and lie below a prefix of localaws's S3, whose
work is on the same cores: on AWS it is not. The jobs take turns. The ratio is the median of the rounds', of the
longest host, in wall time and in processor time; the second one does not depend on what else the machine does.
"""

from __future__ import annotations

import io
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.figures import Figure, arguments, of, publish, ratio_of
from benchmarks.localaws_front import localaws
from tasks.data.judgement_cache import JudgementCache
from tasks.processing.remote import locate_remote
from tasks.processing.stage import stage_by_job
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.options import StagingOptions
from tasks.run.progress import LOGGER
from tasks.run.settings import Settings

GOAL = "goal >= 1.9"
CLASSES = 4
BUCKET = "photos-to-stage"
DECODED = re.compile(r"decoded [\d,]+ of [\d,]+ photos in ([\d.]+) s, with ([\d.]+) s of processor time")


@dataclass
class Times:
    """Of each job: the seconds of the longest host, by the clock and of the processor, and the digest of the data."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)


class Lines(logging.Handler):
    """Keeps what the hosts say of their decoding."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[float, float]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Read a line."""
        if match := DECODED.search(record.getMessage()):
            self.found.append((float(match[1]), float(match[2])))


def photo(seed: int, side: int) -> bytes:
    """Return a JPEG of `side` px, with structure on all scales, that differs for each seed."""
    random = np.random.default_rng(seed)
    layers = [random.integers(0, 255, (side // step, side // step, 3), dtype=np.uint8) for step in (8, 64, 400)]
    images = [Image.fromarray(each).resize((side, side), Image.Resampling.BILINEAR) for each in layers]
    out = io.BytesIO()
    Image.blend(Image.blend(images[2], images[1], 0.5), images[0], 0.2).save(out, "JPEG", quality=90)
    return out.getvalue()


@contextmanager
def server_on(cores: int) -> Iterator[str]:
    """Run a localaws on so many cores and yield its address; this process stays where it is."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(allowed)[:cores]))
    try:
        with localaws() as url:
            os.sched_setaffinity(0, allowed)
            yield url
    finally:
        os.sched_setaffinity(0, allowed)


def fill(url: str, work: Path, photos: list[bytes]) -> str:
    """Put the photos into a server's S3 and return their prefix."""
    s3: Any = Aws(Settings(endpoint_url=url, home=work, runs=work / "runs")).client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for number, data in enumerate(photos):
        s3.put_object(Bucket=BUCKET, Key=f"photos/class-{number % CLASSES}/{number}.jpg", Body=data)
    return f"s3://{BUCKET}/photos/"


def stage(url: str, work: Path, number: int, source: str, hosts: int, times: Times) -> None:
    """Stage once by a job of so many hosts, in a bucket of its own, and keep the times."""
    home = work / f"{hosts}-{number}"
    settings = Settings(endpoint_url=url, home=home, runs=home / "runs", bucket=f"kennel-{hosts}-{number}")
    aws, lines = Aws(settings), Lines()
    located = locate_remote(source, aws)
    LOGGER.addHandler(lines)
    try:
        machines = StagingOptions(stage_on="sagemaker", stage_instances=hosts)
        run = Run(aws, f"run-{hosts}-{number}")
        outcome = stage_by_job(located, JudgementCache(located, settings), run, machines)
    finally:
        LOGGER.removeHandler(lines)
    if len(lines.found) != hosts:
        raise SystemExit(f"{len(lines.found)} of {hosts} hosts said how long they took")
    times.wall.append(max(wall for wall, _ in lines.found))
    times.processor.append(max(processor for _, processor in lines.found))
    times.digests.add(outcome.dataset.digest)


def figures_of(times: dict[int, Times]) -> list[Figure]:
    """Return the speed-ups of two hosts, and the seconds of both numbers of them.

    Raises:
        SystemExit: the datasets differ.
    """
    if len(digests := times[1].digests | times[2].digests) != 1:
        raise SystemExit(f"the datasets of one and two hosts differ: {sorted(digests)}")
    names = {"processor": "processor time of reading and decoding", "wall": "reading and decoding"}
    return [
        *(ratio_of(f"two hosts, {what}", getattr(times[2], name), getattr(times[1], name), GOAL)
          for name, what in names.items()),
        *(of(f"{what}, {hosts} host(s)", getattr(times[hosts], name), "s")
          for name, what in names.items() for hosts in (1, 2)),
    ]  # fmt: skip


def main() -> None:
    """Run all rounds and print the medians."""
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--side", type=int, default=1600)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("the benchmark needs two cores, one for each host")
    photos = [photo(number, given.side) for number in range(given.images)]
    times = {1: Times(), 2: Times()}
    with tempfile.TemporaryDirectory(prefix="cloud-staging-") as folder:
        work = Path(folder)
        for number in range(given.repeats):
            for hosts in (1, 2):
                with server_on(hosts) as url:
                    source = fill(url, work / f"filling-{hosts}-{number}", photos)
                    stage(url, work, number, source, hosts, times[hosts])
    size_bytes = sum(map(len, photos))
    publish(
        figures_of(times), [f"{given.images:,} photos of {given.side} px, {size_bytes / 1e6:.0f} MB; equal datasets."]
    )


if __name__ == "__main__":
    main()
