"""An in-process view of moto's S3: no HTTP, and no object whole in memory. Files in, files out."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localaws.errors import NoSuchBucket, NoSuchKey

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ObjectInfo:
    """One object. `etag` is without quotes."""

    key: str
    size_bytes: int
    etag: str


class Objects:
    """S3 as seen from inside the server, in the account and partition of the settings."""

    def __init__(self, account_id: str, region: str) -> None:
        self._account_id = account_id
        self._region = region

    def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        """Return every object under `prefix`, in key order, with no limit on their number.

        Raises:
            NoSuchBucket: the bucket does not exist.
        """
        keys = self._bucket(bucket).keys
        names = sorted(name for name in list(keys) if name.startswith(prefix))
        infos = []
        for name in names:
            key = keys.get(name)
            if key is not None and not _is_delete_marker(key):
                infos.append(ObjectInfo(name, key.size, key.etag.strip('"')))
        return infos

    def exists(self, bucket: str, key: str) -> bool:
        """Return whether the object exists.

        Raises:
            NoSuchBucket: the bucket does not exist.
        """
        found = self._bucket(bucket).keys.get(key)
        return found is not None and not _is_delete_marker(found)

    def download(self, bucket: str, key: str, path: Path) -> None:
        """Write the object to `path`, whose folder is made; the file appears whole or not at all.

        Raises:
            NoSuchBucket, NoSuchKey: as they say.
        """
        found = self._bucket(bucket).keys.get(key)
        if found is None or _is_delete_marker(found):
            raise NoSuchKey(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as file:
            for chunk in chunks_of(found):
                file.write(chunk)
        part.replace(path)

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Store the file as an object.

        Raises:
            NoSuchBucket: the bucket does not exist.
            FileNotFoundError: there is no file at `path`.
        """
        self._bucket(bucket)
        digest = hashlib.md5(usedforsecurity=False)
        stored = self._backend().put_object(bucket, key, b"")
        with path.open("rb") as file, stored.lock:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                stored._value_buffer.write(chunk)
            stored.contentsize = stored._value_buffer.tell()
        stored._etag = digest.hexdigest()

    def _backend(self) -> Any:
        from moto.s3.models import s3_backends

        return s3_backends[self._account_id]["aws"]

    def _bucket(self, bucket: str) -> Any:
        found = self._backend().buckets.get(bucket)
        if found is None:
            raise NoSuchBucket(bucket)
        return found


def chunks_of(key: Any) -> Iterator[bytes]:
    """Yield the content of one of moto's keys in pieces of 1 MiB."""
    position = 0
    while position < key.contentsize:
        with key.lock:
            key._value_buffer.seek(position)
            chunk = key._value_buffer.read(CHUNK_BYTES)
        if not chunk:
            return
        position += len(chunk)
        yield chunk


def _is_delete_marker(key: Any) -> bool:
    return type(key).__name__ == "FakeDeleteMarker"
