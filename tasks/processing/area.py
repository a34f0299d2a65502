"""The place in the bucket by which the hosts of a staging job and the machine that started it speak to each other.

Below the job's prefix lie its inputs, each host's `rows` (what it found in each photo) and `parts` (the staged bytes),
the `verdict` of the first host, the `plan` of the shards, the `answer` of the machine that started the job, and what
the hosts say of their `shards`. What does not exist yet is looked for by listing: a role without the right to list the
whole bucket is refused an object that is missing.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tasks.account import objects
from tasks.account.encryption import encryption_of
from tasks.run.aws import Aws, transfer
from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.sealed import parse_json
from tasks.run.waiting import wait_for

Found = TypeVar("Found")

ORDER, CODE, SHARES = "input/order", "input/code", "input/shares"
ROWS, PARTS, SHARDS, FAILED = "rows", "parts", "shards", "failed"
MADE = "made"
"""The folder of the shards themselves, as they are to be in the dataset."""
VERDICT, PLAN, ANSWER = "verdict", "plan", "answer"
WHERE = "staging job"
POLL_SECONDS = 0.5  # of the embedded AWS; the real one is asked as seldom as by any wait
JSON = "application/json"


@dataclass(frozen=True)
class Area:
    """The keys below one prefix of a bucket; `prefix` has no slash at its end."""

    aws: Aws
    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        """The prefix as S3 URI, without a slash at its end."""
        return f"s3://{self.bucket}/{self.prefix}"

    def put(self, name: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Put an object.

        Raises:
            AwsFailed: S3 refused or did not answer.
        """
        objects.put_object(self.aws, self.bucket, f"{self.prefix}/{name}", data, content_type=content_type)

    def tell(self, name: str, content: Any) -> None:
        """Put a value as compressed JSON.

        Raises:
            AwsFailed: as `put`.
        """
        self.put(f"{name}.json.gz", gzip.compress(json.dumps(content).encode(), mtime=0), JSON)

    def told(self, folder: str = "") -> list[str]:
        """Return the names of what was told, or of what was told below a folder.

        Raises:
            AwsFailed: S3 refused or did not answer.
        """
        begin = f"{self.prefix}/{folder}/" if folder else f"{self.prefix}/"
        found = objects.list_objects(self.aws, self.bucket, begin)
        names = [key.removeprefix(begin) for key in found]
        return sorted(name.removesuffix(".json.gz") for name in names if "/" not in name and name.endswith(".json.gz"))

    def hear(self, name: str) -> Any:
        """Return a value that was told.

        Raises:
            StageFailed: it is gone.
            AwsFailed: S3 refused or did not answer.
        """
        data = objects.read_object(self.aws, self.bucket, f"{self.prefix}/{name}.json.gz")
        if data is None:
            again = "run the same command again, which makes a new attempt"
            raise StageFailed(WHERE, f"{self.uri}/{name} is gone", "somebody deleted what the job works with", again)
        return parse_json(gzip.decompress(data))

    def hear_if_told(self, name: str) -> Any | None:
        """Return a value, or None if it was not told yet."""
        folder, _, last = name.rpartition("/")
        return self.hear(name) if last in self.told(folder) else None

    def wait(self, what: str, look: Callable[[], Found | None], *, deadline_seconds: float) -> Found:
        """Wait for what `look` returns, on a host; the failure of another host ends the wait.

        Raises:
            StageFailed: another host has failed.
            WaitTimedOut: it did not come in time.
        """

        def probe() -> tuple[Found | None, str]:
            failed = self.told(FAILED)
            if failed:
                why = "all hosts of a job are needed"
                raise StageFailed(WHERE, f"{', '.join(failed)} failed", why, "kennel logs --source staging")
            return look(), "not there yet"

        return wait_for(self.aws.target, what, probe, deadline_seconds=deadline_seconds, poll_seconds=POLL_SECONDS)

    def send_file(self, path: Path, name: str) -> None:
        """Send a file.

        Raises:
            AwsFailed: S3 refused or did not answer.
        """
        extra = {**encryption_of(self.aws, self.bucket).of_objects, "ExpectedBucketOwner": self.aws.account_id}
        send = self.aws.client("s3").upload_file
        with aws_boundary(f"{self.uri}/{name}"):
            transfer(partial(send, str(path), self.bucket, f"{self.prefix}/{name}", ExtraArgs=extra))

    def fetch_file(self, name: str, path: Path) -> None:
        """Fetch a file.

        Raises:
            AwsFailed: S3 refused or did not answer.
            DiskFailed: it cannot be written.
        """
        client = self.aws.client("s3")
        with aws_boundary(f"{self.uri}/{name}"), disk_boundary(WHERE, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            transfer(partial(client.download_file, self.bucket, f"{self.prefix}/{name}", str(path)))
