"""What every job on hosts asks for, as plain data, once it has been read and checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from moto.sagemaker.exceptions import ValidationError

ML = PurePosixPath("/opt/ml")


@dataclass(frozen=True)
class Location:
    """A bucket and the beginning of keys in it."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, uri: str, field: str) -> "Location":
        """Return the location of an `s3://bucket/prefix` URI.

        Raises:
            ValidationError: it is none; the message names `field`.
        """
        match = re.fullmatch(r"s3://([^/]+)/?(.*)", uri)
        if match is None:
            raise ValidationError(f"{field}: {uri!r} is not an S3 URI of the form s3://bucket/prefix.")
        return cls(match[1], match[2])

    @property
    def uri(self) -> str:
        """The location as S3 URI."""
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Channel:
    """Input data. `manifest`: the location is that of a manifest which lists the objects. `folder`: below /opt/ml."""

    name: str
    source: Location
    manifest: bool
    sharded: bool
    content_type: str | None
    folder: PurePosixPath


@dataclass(frozen=True)
class JobRequest:
    """What the requests of all kinds of jobs have. `echo` is the part that Describe repeats."""

    name: str
    role_arn: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    channels: tuple[Channel, ...]
    instance_type: str
    instance_count: int
    max_runtime_seconds: int
    is_spot: bool
    is_isolated: bool
    vpc: Mapping[str, Any] | None
    output_key: str | None
    volume_key: str | None
    tags: tuple[Mapping[str, str], ...]
    echo: Mapping[str, Any]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the instances."""
        return tuple(f"algo-{number}" for number in range(1, self.instance_count + 1))
