"""Let an EC2 instance fetch objects from the run's bucket and keep a copy of its checkpoint folder in S3.

boto3 uses the instance's role (from instance metadata). Nothing is retried beyond boto3's own retries.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Bucket:
    """The run's bucket, accessed with the instance's role; `encryption` are PutObject's arguments for it."""

    def __init__(self, name: str, region: str, encryption: Mapping[str, str]) -> None:
        import boto3  # on_instance.py installs it before it makes a Bucket
        from botocore.config import Config

        config = Config(retries={"mode": "standard", "total_max_attempts": 6})
        self._s3: Any = boto3.client("s3", region_name=region, config=config)
        self._name, self._encryption = name, dict(encryption)

    def get(self, key: str, path: Path) -> str:
        """Download an object to `path`, replacing it atomically; return the object's sha256.

        Raises:
            botocore.exceptions.ClientError: the object is missing, or the role may not read it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        self._s3.download_file(self._name, key, str(part))
        digest = sha256_of(part)
        part.replace(path)
        return digest

    def put(self, path: Path, key: str) -> None:
        """Upload a file as the object `key`."""
        extra = {**self._encryption, "ChecksumAlgorithm": "SHA256"}
        self._s3.upload_file(str(path), self._name, key, ExtraArgs=extra)

    def keys(self, prefix: str) -> list[str]:
        """Return every key under a prefix."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


class Checkpoints:
    """A folder and its copy in S3, like SageMaker's CheckpointConfig; without a prefix nothing is copied."""

    def __init__(self, bucket: Bucket, prefix: str | None, folder: Path, say: Callable[[str], None]) -> None:
        self._bucket, self._prefix, self.folder, self._say = bucket, prefix, folder, say
        self._stored: dict[Path, tuple[int, int]] = {}
        folder.mkdir(exist_ok=True)

    def fetch(self) -> None:
        """Download the checkpoint files that an interrupted instance left."""
        keys = self._bucket.keys(f"{self._prefix}/") if self._prefix else []
        for key in keys:
            path = self.folder / key.removeprefix(f"{self._prefix}/")
            self._bucket.get(key, path)
            self._stored[path] = _version(path)
        if keys:
            self._say(f"fetched {len(keys)} checkpoint files that an earlier instance left")

    def store(self) -> None:
        """Upload the files that changed; a failure is logged, and training continues without that copy."""
        if self._prefix is None:
            return
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file() or path.name.startswith(".") or self._stored.get(path) == _version(path):
                continue
            version = _version(path)
            try:
                self._bucket.put(path, f"{self._prefix}/{path.relative_to(self.folder).as_posix()}")
                self._stored[path] = version
            except Exception as error:  # noqa: BLE001 boto3 has no base class of transfer errors
                self._say(f"WARNING: checkpoint {path.name} could not be stored in S3: {error}")


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def sha256_of(path: Path) -> str:
    """Return a file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
