"""Read a dataset from a bucket of S3: an archive (`s3://bucket/photos.zip`), or all objects below a prefix.

A prefix is listed, and its digest is that of keys, sizes and ETags. So a look for new photos is one listing and reads
no object. Objects are downloaded when their images are needed, to `.kennel/downloads/<hash>/objects/`, to files that
are named by a hash of key, size and ETag: one that is there is not fetched again, and no file has a name of the
bucket's. Several processes may fetch one prefix at once: what is removed is at least a day old and of an object that
the prefix has no more. The bucket may be of another account; nothing in it is changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.account.objects import StoredObject
from tasks.data.download import download, download_folder
from tasks.data.entries import Entry, Listing, check_bounds, points_outside, too_deep, too_large
from tasks.data.folder_source import read_file
from tasks.run.aws import Aws
from tasks.run.disk import disk_boundary
from tasks.run.error_codes import DENIED
from tasks.run.errors import AccessDenied, AwsFailed, SourceRefused, aws_boundary
from tasks.run.own_files import replacing
from tasks.run.progress import Progress, ProgressFactory
from tasks.run.settings import Settings
from tasks.run.source_name import is_s3, source_name
from tasks.run.streamed import read_streamed

_PLACES = "give s3://BUCKET/PREFIX/ or s3://BUCKET/KEY.zip"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ARCHIVE = re.compile(r".*\.(zip|tar|tgz|tbz2|txz|tar\.(gz|zst|bz2|xz))", re.IGNORECASE | re.DOTALL)
_ARCHIVED = {"GLACIER": "S3 Glacier", "DEEP_ARCHIVE": "S3 Glacier Deep Archive"}
_HASH = re.compile(r"[0-9a-f]{64}")
_URL_SECONDS = 12 * 3600
_KEPT_SECONDS = 24 * 3600
_PART_BYTES = 64 * 2**20


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
        """The digest of the place, of all keys, sizes and ETags, and of why an object is left out."""
        refusals = [[entry.refusal] if entry.refusal else [] for entry in self.listing.entries]
        rows = [
            [each.key, each.size_bytes, each.etag, *refusal]
            for each, refusal in zip(self.objects, refusals, strict=True)
        ]
        return hashlib.sha256(json.dumps([self.place.uri, rows]).encode()).hexdigest()


def place_of(source: str) -> Place:
    """Return the place that `s3://bucket/...` names, without a call.

    Raises:
        SourceRefused: it is no such URL, the bucket's name is none, or a key has a character that a URL gives another
            meaning.
    """
    if not is_s3(source):
        raise SourceRefused("source", source_name(source), "it is no place in a bucket of S3", _PLACES)
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
    look_at_archive(aws, place)
    asked = {"Bucket": place.bucket, "Key": place.key}
    with _source_aws_boundary(aws, place, "s3:GetObject", place.key):
        url = aws.client("s3").generate_presigned_url("get_object", Params=asked, ExpiresIn=_URL_SECONDS)
    return download(url, aws.settings, progress)


def look_at_archive(aws: Aws, place: Place) -> StoredObject:
    """Return the size and the ETag of an archive, which is not read.

    Raises:
        SourceRefused: it is in an archive of S3's, which has to be restored first.
        AwsFailed: S3 refused or did not answer, or there is no such object.
    """
    with _source_aws_boundary(aws, place, "s3:GetObject", place.key):
        found = aws.client("s3").head_object(Bucket=place.bucket, Key=place.key)
    is_restored = 'ongoing-request="false"' in found.get("Restore", "")
    if (refusal := _refusal_of_class(found, is_restored=is_restored)) is not None:
        raise SourceRefused("source", place.uri, refusal, "restore it, and run the same command again")
    return StoredObject(place.key, int(found["ContentLength"]), str(found["ETag"]).strip('"'))


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
        else:
            each = StoredObject(found["Key"], found["Size"], found["ETag"].strip('"'))
            objects.append(each)
            entries.append(_entry(name, each, refusal_in_listing(found), aws.settings))
        if len(entries) + len(folders) > aws.settings.max_archive_files:
            break
    if not entries and len(folders) <= aws.settings.max_archive_files:
        raise SourceRefused("source", place.uri, "there is no object below this prefix", aws_list(aws, place))
    root = download_folder(place.uri, aws.settings) / "objects"
    listing = Listing(place.uri, "folder", tuple(entries), tuple(folders), root)
    check_bounds(listing, aws.settings)
    return RemoteObjects(place, tuple(objects), listing)


def fetch_objects(aws: Aws, remote: RemoteObjects, wanted: Sequence[int], progress: ProgressFactory) -> None:
    """Download the objects at these indices that are not here yet; old ones that the prefix has no more are removed.

    Raises:
        SourceRefused: an object has changed since it was listed.
        AwsFailed: S3 refused or did not answer.
        DiskFailed: a file cannot be written.
    """
    root = remote.listing.root
    with disk_boundary("download", root):
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_old(root, {entry.file for entry in remote.listing.entries})
        here = {path.name for path in root.iterdir()}
    missing = [index for index in wanted if remote.listing.entries[index].file not in here]
    if not missing:
        return
    total = sum(remote.objects[index].size_bytes for index in missing)
    with progress("download", total, "B") as counter, ThreadPoolExecutor(aws.settings.upload_threads) as pool:
        for _ in pool.map(partial(_fetch, aws, remote, counter), missing):
            pass


def fetch_listed(aws: Aws, place: Place, stored: StoredObject, target: Path) -> None:
    """Download an object that is still as it was listed, in parts at once.

    Raises:
        SourceRefused: it has changed since it was listed.
        AwsFailed: S3 refused or did not answer.
        DiskFailed: the file cannot be written.
    """
    boundary = disk_boundary("download", target, stored.size_bytes)
    with boundary, _source_aws_boundary(aws, place, "s3:GetObject", stored.key):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")
        begins = range(0, stored.size_bytes, _PART_BYTES)
        with ThreadPoolExecutor(aws.settings.upload_threads) as pool:
            for _ in pool.map(partial(_fetch_part, aws, place, stored, target), begins):
                pass


def _fetch_part(aws: Aws, place: Place, stored: StoredObject, target: Path, begin: int) -> None:
    end = min(begin + _PART_BYTES, stored.size_bytes) - 1
    asked = {"Bucket": place.bucket, "Key": stored.key, "IfMatch": f'"{stored.etag}"', "Range": f"bytes={begin}-{end}"}

    def write(body: Any) -> None:
        with target.open("r+b") as file:
            file.seek(begin)
            shutil.copyfileobj(body, file)

    read_streamed(aws, "s3", "get_object", "Body", write, **asked)


def _remove_old(root: Path, listed: Collection[str]) -> None:
    """Remove the files that the listing does not have, if they are older than any staging that may still need them."""
    for path in list(root.iterdir()):
        if path.name in listed or _HASH.fullmatch(path.name) is None:
            continue
        with suppress(FileNotFoundError):  # another process removed it
            if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                path.unlink()


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
        asked = {"Bucket": place.bucket, "Prefix": place.key, "OptionalObjectAttributes": ["RestoreStatus"]}
        paginator = aws.client("s3").get_paginator("list_objects_v2")
        for page in paginator.paginate(**asked):
            yield from page.get("Contents", [])


def _entry(name: str, stored: StoredObject, archived: str | None, settings: Settings) -> Entry:
    refusal = "its path points outside the prefix" if points_outside(name) else None
    refusal = refusal or archived or too_deep(name) or too_large(stored.size_bytes, settings)
    content = json.dumps([stored.key, stored.size_bytes, stored.etag]).encode()
    return Entry(name, stored.size_bytes, refusal, file=hashlib.sha256(content).hexdigest())


def refusal_in_listing(found: Mapping[str, Any]) -> str | None:
    """Return why an object of a listing cannot be read: it is in an archive of S3's, and no restored copy is there.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreStatus.html
    """
    status = found.get("RestoreStatus", {})
    is_restored = "RestoreExpiryDate" in status and not status.get("IsRestoreInProgress", False)
    return _refusal_of_class(found, is_restored=is_restored)


def _refusal_of_class(found: Mapping[str, Any], *, is_restored: bool) -> str | None:
    archive = _ARCHIVED.get(found.get("StorageClass", ""))
    if archive is None or is_restored:
        return None
    return f"it is in {archive}, from which it has to be restored first"


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
        if (refusal := _in_words(error, where, place, aws)) is not None:
            raise refusal from error
        if error.code not in DENIED:
            raise
        objects = f"{place.bucket}/{place.key}" + ("" if place.is_archive else "*")
        on = aws.arn("s3", objects if key else place.bucket)
        cure = f"allow {permission} on {on}: kennel iam operator-policy stage --source {place.uri}"
        if "kms:" in error.why:
            cure = "allow kms:Decrypt on the key that AWS's message names, then run the same command again"
        raise AccessDenied(where, error.what, error.why, cure, error.code) from error


def _in_words(error: AwsFailed, where: str, place: Place, aws: Aws) -> SourceRefused | None:
    """Return what an answer of S3 says of the source itself; None for an answer that says nothing of it."""
    if error.code in {"PreconditionFailed", "412", "NoSuchKey"}:
        why = f"it was changed or deleted while {'it waited' if place.is_archive else 'the prefix was read'}"
        return SourceRefused("source", where, why, "run the same command again")
    if error.code == "InvalidObjectState":
        why = "it is in an archive of S3's, from which it has to be restored first"
        return SourceRefused("source", where, why, "restore it, and run the same command again")
    if error.code in {"PermanentRedirect", "301"}:
        why = f"the bucket is in another region than {aws.region}"
        return SourceRefused("source", where, why, "export KENNEL_REGION=<the bucket's>, or copy it to this region")
    return None
