"""S3 from inside the server, without HTTP: reads and writes moto's objects as files, never whole in memory."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from localaws.errors import NoSuchBucket, NoSuchKey
from localaws.object_contents import CHUNK_BYTES, Content, pieces_of, undisturbed
from localaws.partition import partition


@dataclass(frozen=True)
class ObjectInfo:
    """One object. `etag` is without quotes."""

    key: str
    size_bytes: int
    etag: str


class Objects:
    """S3 as seen from inside the server, in the account and partition of the settings."""

    def __init__(self, account_id: str, region: str, kms_key: str | None = None) -> None:
        self._account_id = account_id
        self._region = region
        self._kms_key = kms_key  # what is stored is sealed with it; None: as the bucket's default says

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
            AwsError: the key of KMS that it is sealed with is gone or disabled.
        """
        content = self._content(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}.part")  # of no object's name, and never too long
        try:
            with part.open("wb") as file:
                for piece in pieces_of(content):
                    file.write(piece)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Store the file as an object.

        Raises:
            NoSuchBucket: the bucket does not exist.
            FileNotFoundError: there is no file at `path`.
        """
        with path.open("rb") as file:
            self.store(file, bucket, key)

    def store(self, file: BinaryIO, bucket: str, key: str) -> None:
        """Store what is left to read of the file as an object.

        Raises:
            NoSuchBucket: the bucket does not exist.
            AwsError: the key of KMS that is to seal it does not exist or is disabled.
        """
        from localaws.s3.backend import StoredKey

        self._bucket(bucket)
        staged = StoredKey.store.write(iter(lambda: file.read(CHUNK_BYTES), b""))
        try:
            self._backend().put_object(bucket, key, staged, **self._sealed())
        finally:
            staged.discard()

    def _sealed(self) -> dict[str, str]:
        return {} if self._kms_key is None else {"encryption": "aws:kms", "kms_key_id": self._kms_key}

    def _content(self, bucket: str, key: str) -> Content:
        def find() -> Content:
            found = self._bucket(bucket).keys.get(key)
            if found is None or _is_delete_marker(found):
                raise NoSuchKey(bucket, key)
            self._backend().require_opened(found)
            content: Content = found.value
            return content

        return undisturbed(find)

    def _backend(self) -> Any:
        from moto.s3.models import s3_backends

        return s3_backends[self._account_id][partition()]

    def _bucket(self, bucket: str) -> Any:
        found = self._backend().buckets.get(bucket)
        if found is None:
            raise NoSuchBucket(bucket)
        return found


def _is_delete_marker(key: Any) -> bool:
    return type(key).__name__ == "FakeDeleteMarker"
