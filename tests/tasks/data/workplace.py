"""A place to stage datasets in: settings, clients and a run of one test, with a bucket of its own."""

import hashlib
import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

from tasks.data import staging
from tasks.data.judgement_cache import JudgementCache
from tasks.data.upload import UploadSummary, find_staged
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.options import DataOptions
from tasks.run.progress import LineProgress
from tasks.run.records import SPLITS, DatasetRef
from tasks.run.settings import Settings

READS = ("Get", "List", "Head")


class Workplace:
    """The settings, clients and run of one test, with its own bucket; S3 calls are counted."""

    def __init__(self, url: str, home: Path, bucket: str, **more: Any) -> None:
        self.settings = Settings(endpoint_url=url, home=home / "home", runs=home / "runs", bucket=bucket, **more)
        self.aws = Aws(self.settings)
        self.run = Run(self.aws, "run-1")
        self.calls: Counter[str] = Counter()
        self.s3 = self.aws.client("s3")
        self.s3.meta.events.register("before-call.s3", self._count)

    def _count(self, model: Any, **_: Any) -> None:
        self.calls[model.name] += 1

    @property
    def changes(self) -> int:
        """The number of calls that changed something."""
        return sum(count for name, count in self.calls.items() if not name.startswith(READS))

    def stage(self, source: Path | str, options: DataOptions = DataOptions()) -> tuple[DatasetRef, UploadSummary]:
        """Stage a source as the flow does."""
        located = staging.locate(str(source), self.settings, LineProgress, options)
        cache = JudgementCache(located, self.settings)
        known = cache.find()
        found = find_staged(self.aws, known, located) if known else None
        if found is not None:
            return found, UploadSummary()
        outcome = staging.judge_and_upload(located, cache, self.run, LineProgress)
        return outcome.dataset, outcome.sent

    def body(self, key: str) -> bytes:
        data: bytes = self.s3.get_object(Bucket=self.aws.bucket, Key=key)["Body"].read()
        return data

    def rows(self, dataset: DatasetRef) -> list[dict[str, Any]]:
        """Return the rows of images.jsonl."""
        return [json.loads(line) for line in self.body(f"{dataset.prefix}/images.jsonl").splitlines()]

    def members(self, dataset: DatasetRef) -> dict[tuple[str, str], bytes]:
        """Return the members of all shards as (shard, member) → bytes; each shard is checked against the manifest."""
        manifest = json.loads(self.body(f"{dataset.prefix}/manifest.json"))
        found = {}
        for shard in (shard for split in SPLITS for shard in manifest["splits"][split]):
            data = self.body(f"{dataset.prefix}/{shard['key']}")
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (shard["sha256"], shard["size_bytes"])
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar:
                    content = tar.extractfile(member)
                    assert content is not None
                    found[shard["key"], member.name] = content.read()
        return found


def bucket_exists(place: Workplace) -> bool:
    return place.aws.bucket in {bucket["Name"] for bucket in place.s3.list_buckets()["Buckets"]}
