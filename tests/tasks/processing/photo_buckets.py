"""A bucket of photos that is not kennel's own, and stagings of it: here, and by jobs of so many instances."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.account.objects import delete_prefix
from tasks.data.judgement_cache import JudgementCache
from tasks.data.staging import StagingOutcome
from tasks.processing.remote import locate_remote
from tasks.processing.stage import stage_by_job
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
        self.places.append(Workplace(url or self.localaws.url, self.folder / str(number), bucket, **settings))
        return self.places[-1]


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
        there = {each["Name"] for each in s3.list_buckets()["Buckets"]}
        for place in made.places:
            for bucket in {place.aws.bucket, name} & there:
                keys = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
                for each in keys:
                    s3.delete_object(Bucket=bucket, Key=each["Key"])
                if bucket != name:
                    delete_prefix(place.aws, bucket, "datasets/")
                    s3.delete_bucket(Bucket=bucket)
