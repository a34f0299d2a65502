"""A training job's request as plain data: what CreateTrainingJob asks for, once it has been read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

ML = PurePosixPath("/opt/ml")


@dataclass(frozen=True)
class Location:
    """A bucket and the beginning of keys in it."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        """The location as S3 URI."""
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Channel:
    """One input channel. `manifest`: the location is that of a manifest which lists the objects."""

    name: str
    source: Location
    manifest: bool
    sharded: bool
    content_type: str | None


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints are in S3, and in the container (under /opt/ml)."""

    store: Location
    local_path: PurePosixPath


@dataclass(frozen=True)
class JobRequest:
    """A valid request. `echo` is the part that DescribeTrainingJob repeats."""

    name: str
    role_arn: str
    command: tuple[str, ...]
    hyperparameters: Mapping[str, str]
    environment: Mapping[str, str]
    channels: tuple[Channel, ...]
    output: Location
    is_compressed: bool
    instance_type: str
    instance_count: int
    max_runtime_seconds: int
    max_wait_seconds: int | None
    is_spot: bool
    is_isolated: bool
    checkpoints: Checkpoints | None
    metrics: tuple[tuple[str, str], ...]
    vpc: Mapping[str, Any] | None
    tags: tuple[Mapping[str, str], ...]
    echo: Mapping[str, Any]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the instances."""
        return tuple(f"algo-{number}" for number in range(1, self.instance_count + 1))

    def output_of(self, name: str) -> Location:
        """Return where the archive (or, uncompressed, the folder) `name` of the job's output goes."""
        base = f"{self.output.prefix.rstrip('/')}/{self.name}/output/{name}".lstrip("/")
        return Location(self.output.bucket, f"{base}.tar.gz" if self.is_compressed else f"{base}/")
