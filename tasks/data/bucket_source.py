"""Read a dataset from a bucket of S3: an archive (`s3://bucket/photos.zip`), or all objects below a prefix.

A prefix is listed, and its digest is that of keys, sizes and ETags. So a look for new photos is one listing and reads
no object. Objects are downloaded when their images are needed, to `.kennel/downloads/<hash>/objects/`, to files that
are named by a hash of key, size and ETag: one that is there is not fetched again, and no file has a name of the
bucket's. The bucket may be of another account; nothing in it is changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.account.objects import StoredObject
from tasks.data.download import download, download_folder
from tasks.data.entries import Entry, Listing, check_bounds, points_outside, too_large
from tasks.data.folder_source import read_file
from tasks.run.aws import Aws
from tasks.run.disk import disk_boundary
from tasks.run.error_codes import DENIED
from tasks.run.errors import AccessDenied, AwsFailed, SourceRefused, aws_boundary
from tasks.run.own_files import replacing
from tasks.run.progress import Progress, ProgressFactory
from tasks.run.settings import Settings
from tasks.run.source_name import source_name
from tasks.run.streamed import read_streamed

_PLACES = "give s3://BUCKET/PREFIX/ or s3://BUCKET/KEY.zip as --data"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ARCHIVE = re.compile(r".*\.(zip|tar|tgz|tbz2|txz|tar\.(gz|zst|bz2|xz))", re.IGNORECASE | re.DOTALL)
_ARCHIVED = {"GLACIER": "S3 Glacier", "DEEP_ARCHIVE": "S3 Glacier Deep Archive"}
_URL_SECONDS = 12 * 3600


@dataclass(frozen=True)
class Place:
    """A key or a prefix in a bucket; a prefix is "" or ends in a slash."""

    bucket: str
    key: str

    @property
    def is_archive(self) -> bool:
        """Whether it is one archive, by its name, and not a prefix."""
        return _ARCHIVE.fullmatch(self.key) is not None

    @property
    def uri(self) -> str:
        """The place as `s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """What a dataset from there is called."""
        return PurePosixPath(self.key).name or self.bucket


@dataclass(frozen=True)
class RemoteObjects:
    """The objects below a prefix as they were listed; `listing` has one entry an object, in their order."""

    place: Place
    objects: tuple[StoredObject, ...]
    listing: Listing

    @property
    def digest(self) -> str:
        """The digest of the place, and of all keys, sizes and ETags."""
        rows = [[each.key, each.size_bytes, each.etag] for each in self.objects]
        return hashlib.sha256(json.dumps([self.place.uri, rows]).encode()).hexdigest()


def place_of(source: str) -> Place:
    """Return the place that `s3://bucket/...` names, without a call.

    Raises:
        SourceRefused: the bucket's name is none, or a key has a character that a URL gives another meaning.
    """
    bucket, _, key = source[len("s3://") :].partition("/")
    if _BUCKET.fullmatch(bucket) is None:
        why = "a bucket is named by 3 to 63 lower-case letters, digits, dots and hyphens"
        raise SourceRefused("source", source_name(source), why, _PLACES)
    if re.search(r"[?#@\x00-\x1f]", key):
        why = "a key with ?, #, @ or a control character cannot be given here"
        raise SourceRefused("source", source_name(source), why, "give the prefix above it")
    place = Place(bucket, key)
    return place if place.is_archive or key.endswith("/") or not key else Place(bucket, f"{key}/")


def fetch_archive(aws: Aws, place: Place, progress: ProgressFactory) -> Path:
    """Download an archive and return its path; one that is unchanged is not fetched again, a part is resumed.

    Raises:
        SourceRefused: it is in an archive of S3's, which has to be restored first.
        AwsFailed: S3 refused or did not answer, or there is no such object.
        DownloadFailed, DiskFailed: as `download` raises them.
    """
    asked = {"Bucket": place.bucket, "Key": place.key}
    with _source_aws_boundary(aws, place, "s3:GetObject", place.key):
        found = aws.client("s3").head_object(**asked)
        url = aws.client("s3").generate_presigned_url("get_object", Params=asked, ExpiresIn=_URL_SECONDS)
    refusal = _refusal_of_class(found.get("StorageClass", ""))
    if refusal is not None and 'ongoing-request="false"' not in found.get("Restore", ""):
        raise SourceRefused("source", place.uri, refusal, "restore it, and run the same command again")
    return download(url, aws.settings, progress)


def list_prefix(aws: Aws, place: Place) -> RemoteObjects:
    """List the objects below a prefix; none is read.

    Raises:
        SourceRefused: there is no object, or there are more than the limits of the settings allow.
        AwsFailed: S3 refused or did not answer, or there is no such bucket.
    """
    objects: list[StoredObject] = []
    entries: list[Entry] = []
    folders: list[str] = []
    for found in _found(aws, place):
        name = found["Key"][len(place.key) :]
        if name.endswith("/") or not name:
            folders += [name.rstrip("/")] if name else []
            continue
        each = StoredObject(found["Key"], found["Size"], found["ETag"].strip('"'))
        objects.append(each)
        entries.append(_entry(name, each, found.get("StorageClass", ""), aws.settings))
        if len(entries) > aws.settings.max_archive_files:
            break
    if not entries:
        raise SourceRefused("source", place.uri, "there is no object below this prefix", aws_list(aws, place))
    root = download_folder(place.uri, aws.settings) / "objects"
    listing = Listing(place.uri, "folder", tuple(entries), tuple(folders), root)
    check_bounds(listing, aws.settings)
    return RemoteObjects(place, tuple(objects), listing)


def fetch_objects(aws: Aws, remote: RemoteObjects, wanted: Sequence[int], progress: ProgressFactory) -> None:
    """Download the objects at these indices that are not here yet, and remove those that the prefix has no more.

    Raises:
        SourceRefused: an object has changed since it was listed.
        AwsFailed: S3 refused or did not answer.
        DiskFailed: a file cannot be written.
    """
    root = remote.listing.root
    with disk_boundary("download", root):
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        here = {path.name for path in root.iterdir()}
        for left in here - {entry.file for entry in remote.listing.entries}:
            (root / left).unlink()
    missing = [index for index in wanted if remote.listing.entries[index].file not in here]
    if not missing:
        return
    total = sum(remote.objects[index].size_bytes for index in missing)
    with progress("download", total, "B") as counter, ThreadPoolExecutor(aws.settings.upload_threads) as pool:
        for _ in pool.map(partial(_fetch, aws, remote, counter), missing):
            pass


def read_remote(aws: Aws, remote: RemoteObjects, progress: ProgressFactory, entry: Entry) -> bytes:
    """Return the bytes of one object, which is downloaded if it is not here yet.

    Raises:
        Unreadable: the file that was downloaded cannot be read.
        SourceRefused, AwsFailed, DiskFailed: as `fetch_objects` raises them.
    """
    fetch_objects(aws, remote, [remote.listing.entries.index(entry)], progress)
    return read_file(remote.listing.root, entry)


def aws_list(aws: Aws, place: Place) -> str:
    """Return the command that lists a prefix."""
    return aws.cli("s3api list-objects-v2", bucket=place.bucket, prefix=place.key)


def _found(aws: Aws, place: Place) -> Iterator[Any]:
    with _source_aws_boundary(aws, place, "s3:ListBucket"):
        paginator = aws.client("s3").get_paginator("list_objects_v2")
        for page in paginator.paginate(Bucket=place.bucket, Prefix=place.key):
            yield from page.get("Contents", [])


def _entry(name: str, stored: StoredObject, storage_class: str, settings: Settings) -> Entry:
    refusal = "its path points outside the prefix" if points_outside(name) else None
    refusal = refusal or _refusal_of_class(storage_class) or too_large(stored.size_bytes, settings)
    content = json.dumps([stored.key, stored.size_bytes, stored.etag]).encode()
    return Entry(name, stored.size_bytes, refusal, file=hashlib.sha256(content).hexdigest())


def _refusal_of_class(storage_class: str) -> str | None:
    archive = _ARCHIVED.get(storage_class)
    return None if archive is None else f"it is in {archive}, from which it has to be restored first"


def _fetch(aws: Aws, remote: RemoteObjects, counter: Progress, index: int) -> None:
    stored, entry = remote.objects[index], remote.listing.entries[index]
    target = remote.listing.root / entry.file
    asked = {"Bucket": remote.place.bucket, "Key": stored.key, "IfMatch": f'"{stored.etag}"'}
    boundary = disk_boundary("download", target, stored.size_bytes)
    with boundary, _source_aws_boundary(aws, remote.place, "s3:GetObject", stored.key):
        read_streamed(aws, "s3", "get_object", "Body", partial(_write, target), **asked)
    counter.advance(stored.size_bytes)


def _write(target: Path, body: Any) -> None:
    with replacing(target) as file:
        shutil.copyfileobj(body, file)


@contextmanager
def _source_aws_boundary(aws: Aws, place: Place, permission: str, key: str = "") -> Iterator[None]:
    """Translate S3's refusals inside the block; `permission` is what the call needs, on the bucket or on a key.

    Raises:
        SourceRefused: the object has changed since it was listed, or is in an archive of S3's, or in another region.
        AwsFailed: S3 refused or did not answer.
    """
    where = f"s3://{place.bucket}/{key or place.key}"
    try:
        with aws_boundary(where, f"check the name, and export KENNEL_ACCOUNT_ID for real AWS: {aws_list(aws, place)}"):
            yield
    except AwsFailed as error:
        if (refusal := _in_words(error, where, aws)) is not None:
            raise refusal from error
        if error.code not in DENIED:
            raise
        on = aws.arn("s3", f"{place.bucket}/{place.key}*" if key else place.bucket)
        cure = f"allow {permission} on {on}: kennel iam operator-policy stage --source {place.uri}"
        if "kms:" in error.why:
            cure = "allow kms:Decrypt on the key that AWS's message names, then run the same command again"
        raise AccessDenied(where, error.what, error.why, cure, error.code) from error


def _in_words(error: AwsFailed, where: str, aws: Aws) -> SourceRefused | None:
    """Return what an answer of S3 says of the source itself; None for an answer that says nothing of it."""
    if error.code in {"PreconditionFailed", "412", "NoSuchKey"}:
        why = "it was changed or deleted while the prefix was read"
        return SourceRefused("source", where, why, "run the same command again")
    if error.code == "InvalidObjectState":
        why = "it is in an archive of S3's, from which it has to be restored first"
        return SourceRefused("source", where, why, "restore it, and run the same command again")
    if error.code in {"PermanentRedirect", "301"}:
        why = f"the bucket is in another region than {aws.region}"
        return SourceRefused("source", where, why, "export KENNEL_REGION=<the bucket's>, or copy it to this region")
    return None
