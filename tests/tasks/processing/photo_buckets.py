"""A bucket of photos that is not kennel's own, and stagings of it: here, and by jobs of so many instances."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.account.role_policies import role_name
from tasks.account.roles import POLICY_NAME
from tasks.data.judgement_cache import JudgementCache
from tasks.data.staging import StagingOutcome
from tasks.processing.remote import locate_remote
from tasks.processing.stage import stage_by_job
from tasks.run.handle import Run
from tasks.run.options import DataOptions, StagingOptions
from tests.conftest import RunningLocalAws
from tests.tasks.data.workplace import Workplace


@dataclass
class PhotoBucket:
    """A bucket of somebody else's, and workplaces that stage from it, each with a bucket and a home of its own."""

    localaws: RunningLocalAws
    folder: Path
    name: str
    s3: Any
    places: list[Workplace] = field(default_factory=list)

    def put(self, files: Mapping[str, bytes], prefix: str = "dogs/") -> str:
        for name, data in files.items():
            self.s3.put_object(Bucket=self.name, Key=prefix + name, Body=data)
        return f"s3://{self.name}/{prefix}"

    def place(self, url: str | None = None, **settings: Any) -> Workplace:
        number = len(self.places)
        bucket = f"kennel-test-{secrets.token_hex(6)}"
        made = Workplace(url or self.localaws.url, self.folder / str(number), bucket, **settings)
        made.run = Run(made.aws, f"run-{secrets.token_hex(6)}")
        self.places.append(made)
        return made


def stage_remotely(
    place: Workplace, source: str, instances: int = 1, options: DataOptions = DataOptions()
) -> StagingOutcome:
    """Stage a source by a job as the flow does."""
    located = locate_remote(source, place.aws, options)
    cache = JudgementCache(located, place.settings)
    machines = StagingOptions(stage_on="sagemaker", stage_instances=instances)
    return stage_by_job(located, cache, place.run, machines)


@contextmanager
def photo_bucket(localaws: RunningLocalAws, folder: Path, name: str) -> Iterator[PhotoBucket]:
    """Make a bucket, and remove it and those of its workplaces at the end."""
    s3 = localaws.client("s3")
    s3.create_bucket(Bucket=name)
    made = PhotoBucket(localaws, folder, name, s3)
    try:
        yield made
    finally:
        for each in made.places:
            _remove(localaws, each)
        _empty(s3, name)


def _remove(localaws: RunningLocalAws, place: Workplace) -> None:
    """Remove what a staging made."""
    name, iam = role_name(place.run.id, "staging"), localaws.client("iam")
    with suppress(iam.exceptions.NoSuchEntityException):
        iam.delete_role_policy(RoleName=name, PolicyName=POLICY_NAME)
        iam.delete_role(RoleName=name)
    s3 = localaws.client("s3")
    with suppress(s3.exceptions.NoSuchBucket):
        _empty(s3, place.settings.bucket or "")


def _empty(s3: Any, bucket: str) -> None:
    """Remove a bucket with its objects."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for each in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=each["Key"])
    s3.delete_bucket(Bucket=bucket)
