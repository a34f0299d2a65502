"""Find a source in a bucket for a job to stage: a prefix is listed and an archive looked at; nothing is read."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tasks.data.bucket_source import Place, RemoteObjects, list_prefix, look_at_archive, place_of
from tasks.data.entries import Entry, Listing
from tasks.data.judgement_cache import LocatedSource
from tasks.run.aws import Aws
from tasks.run.errors import SourceRefused
from tasks.run.options import DataOptions
from tasks.run.source_name import is_s3, source_name

_COPY = "aws s3 cp --recursive FOLDER s3://BUCKET/PREFIX/, then --data s3://BUCKET/PREFIX/; or leave out --stage-on"


def locate_remote(source: str, aws: Aws, options: DataOptions = DataOptions()) -> LocatedSource:
    """Return a source in a bucket, as it is now.

    Raises:
        SourceRefused: it is not in S3, or there is nothing there.
        AwsFailed: S3 refused or did not answer.
    """
    if not is_s3(source):
        why = "a job of SageMaker reads photos from S3, and this machine sends none for it"
        raise SourceRefused("source", source_name(source), why, _COPY)
    place = place_of(source)
    if place.is_archive:
        remote = _archive(aws, place)
        name = PurePosixPath(place.key)
        stem = Path(name.stem).stem if name.stem.lower().endswith(".tar") else name.stem
        return LocatedSource(source, stem, Path(name.name), place.uri, remote, options)
    objects = list_prefix(aws, place)
    return LocatedSource(source, place.name, objects.listing.root, objects=objects, options=options)


def _archive(aws: Aws, place: Place) -> RemoteObjects:
    """Return an archive as the only object of its place."""
    stored = look_at_archive(aws, place)
    entry = Entry(PurePosixPath(place.key).name, stored.size_bytes, file="source")
    return RemoteObjects(place, (stored,), Listing(place.uri, "folder", (entry,), ()))
