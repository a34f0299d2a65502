"""An object that can be found has all that it was stored with, whichever way it was stored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import moto.s3.models as moto_models
import pytest
from moto.core.request import Request

from localaws.s3.answers import Target, put_object
from localaws.s3.backend import StoredKey, install_backend
from localaws.s3.key_store import OrderedKeyStore
from localaws.s3.responses import ExecutingS3Response

ACCOUNT = "123456789012"
BODY = bytes(9000)  # which is stored as a file, by a thread
HEADERS = {
    "content-type": "image/jpeg",
    "x-amz-meta-one": "1",
    "x-amz-sdk-checksum-algorithm": "CRC32",
    "x-amz-checksum-crc32": "AAAAAA==",
}


class SeenStore(OrderedKeyStore):
    """A store that notes what a reader finds at the moment when an object can be found."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str | None, str | None, str | None, bool]] = []

    def setlist(self, key: str, list_: Any) -> Any:
        super().setlist(key, list_)
        found = self[key]
        told = dict(found.metadata.items())
        about = told.get("x-amz-meta-one"), told.get("content-type"), found.checksum_algorithm, found.acl is not None
        self.seen.append(about)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("FakeKey", "FakeMultipart", "FakeBucket"):  # they are put back after the test
        monkeypatch.setattr(moto_models, name, getattr(moto_models, name))
    monkeypatch.setattr(moto_models.s3_backends, "backend", moto_models.s3_backends.backend)
    monkeypatch.setattr(StoredKey, "store", None, raising=False)
    install_backend(tmp_path / "objects", "us-east-1")
    moto_models.s3_backends.pop(ACCOUNT, None)
    made: Any = moto_models.s3_backends[ACCOUNT]["aws"].create_bucket("seen-whole", "us-east-1")
    made.keys = SeenStore()
    yield made
    moto_models.s3_backends.bucket_accounts.pop("seen-whole", None)
    moto_models.s3_backends.pop(ACCOUNT, None)


def by_the_short_way(bucket: Any) -> None:
    target = Target(moto_models.s3_backends[ACCOUNT]["aws"], bucket, "k", HEADERS)
    answer = put_object(target, BODY)
    assert answer is not None and answer.status == 200


def by_moto(bucket: Any) -> None:
    request = Request.from_primitives("PUT", f"http://localhost/{bucket.name}/k", HEADERS, BODY)
    request.environ["asgi.scope"] = {}
    status, _, _ = ExecutingS3Response().key_response(request, request.url, dict(request.headers))
    assert status == 200


def by_a_copy(bucket: Any) -> None:
    by_the_short_way(bucket)
    backend: Any = moto_models.s3_backends[ACCOUNT]["aws"]
    backend.copy_object(bucket.keys["k"], bucket.name, "copy", storage="STANDARD")


def in_parts(bucket: Any) -> None:
    backend: Any = moto_models.s3_backends[ACCOUNT]["aws"]
    about = {**HEADERS, "x-amz-checksum-algorithm": "CRC32"}
    upload = backend.create_multipart_upload(bucket.name, "k", about, "STANDARD", {}, bucket.acl, None, None)
    part = backend.upload_part(bucket.name, upload.id, 1, BODY)
    backend.complete_multipart_upload(bucket.name, upload.id, [(1, part.etag)])


@pytest.mark.parametrize("store", [by_the_short_way, by_moto, by_a_copy, in_parts])
def test_an_object_that_can_be_found_has_all_that_it_was_stored_with(bucket: Any, store: Any) -> None:
    store(bucket)
    store(bucket)  # it is replaced
    assert len(bucket.keys.seen) >= 2
    assert set(bucket.keys.seen) == {("1", "image/jpeg", "CRC32", True)}
