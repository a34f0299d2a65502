"""Brings input channels to the hosts: decides which objects of S3 each host gets, and downloads them.

`FullyReplicated`: every host gets all. `ShardedByS3Key`: the objects in key order are dealt to the hosts in turn, so
that each has 1/n of them, give or take one. A file's name is the part of its key after the channel's prefix. Writes
only below the folders it is given.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from localaws.errors import AwsError, LocalAwsError
from localaws.objects import Objects
from localaws.sagemaker.jobs.requests import Channel, Location

DOWNLOAD_THREADS = 4


class DownloadError(LocalAwsError):
    """A channel could not be given to the hosts; the message says which and why."""


@dataclass(frozen=True)
class InputFile:
    """One object and its path within the channel's folder."""

    location: Location
    path: PurePosixPath


def find_files(channel: Channel, objects: Objects) -> list[InputFile]:
    """Return the channel's files in key order (a manifest's in its own order).

    Raises:
        DownloadError: a key leads out of the folder, two files want one path, the manifest is none, or the role may
            not list the bucket.
    """
    found = _listed(channel, objects) if channel.manifest else _under(channel, objects)
    files = [file for file in found if not file.location.prefix.endswith("/")]
    _check_paths(channel, files)
    return files


def share_of(files: Sequence[InputFile], host: int, hosts: int, *, sharded: bool) -> list[InputFile]:
    """Return the files of host number `host` (from 0) of `hosts`."""
    return list(files[host::hosts]) if sharded else list(files)


def fill_channels(
    channels: Sequence[Channel], ml_folders: Sequence[Path], objects: Objects, *, is_cancelled: Callable[[], bool]
) -> None:
    """Put every channel into its folder of each host's /opt/ml; stops early when `is_cancelled`.

    Raises:
        DownloadError: as `find_files`, or an object has gone.
    """
    with ThreadPoolExecutor(DOWNLOAD_THREADS, thread_name_prefix="channels") as pool:
        for channel in channels:
            files = find_files(channel, objects)
            for host, ml in enumerate(ml_folders):
                target = ml / channel.folder
                target.mkdir(parents=True, exist_ok=True)
                share = share_of(files, host, len(ml_folders), sharded=channel.sharded)
                fetch = _Fetch(objects, target, channel.name, is_cancelled)
                for _ in pool.map(fetch, share):
                    pass


@dataclass(frozen=True)
class _Fetch:
    objects: Objects
    folder: Path
    channel: str
    is_cancelled: Callable[[], bool]

    def __call__(self, file: InputFile) -> None:
        if self.is_cancelled():
            return
        try:
            self.objects.download(file.location.bucket, file.location.prefix, self.folder / file.path)
        except (AwsError, OSError) as error:
            raise DownloadError(
                f"Data download failed: channel {self.channel}: {file.location.uri}: {error}"
            ) from error


def _under(channel: Channel, objects: Objects) -> list[InputFile]:
    source = channel.source
    try:
        found = objects.list(source.bucket, source.prefix)
    except AwsError as error:
        raise DownloadError(f"Data download failed: channel {channel.name}: {source.uri}: {error}") from error
    return [InputFile(Location(source.bucket, info.key), _relative(info.key, source.prefix)) for info in found]


def _relative(key: str, prefix: str) -> PurePosixPath:
    folder = prefix if prefix.endswith("/") else f"{prefix}/"
    if prefix and key.startswith(folder):
        return PurePosixPath(key[len(folder) :])
    return PurePosixPath(key[prefix.rfind("/") + 1 :])


def _listed(channel: Channel, objects: Objects) -> list[InputFile]:
    try:
        entries = json.loads(_content(channel.source, objects))
        beginning = entries[0]["prefix"]
        bucket, _, prefix = beginning.removeprefix("s3://").partition("/")
        names = [str(name) for name in entries[1:]]
    except (ValueError, LookupError, TypeError, RecursionError, AwsError) as error:
        raise DownloadError(
            f"Data download failed: channel {channel.name}: {channel.source.uri} is not a manifest: {error!r}"
        ) from error
    return [InputFile(Location(bucket, prefix + name), PurePosixPath(name)) for name in names]


def _content(location: Location, objects: Objects) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest"
        objects.download(location.bucket, location.prefix, path)
        return path.read_text()


def _check_paths(channel: Channel, files: Sequence[InputFile]) -> None:
    paths = {file.path for file in files}
    folders = {parent for path in paths for parent in path.parents}
    for file in files:
        if file.path.is_absolute() or ".." in file.path.parts or "\0" in str(file.path) or not file.path.parts:
            problem = "its key leads out of the channel's folder"
        elif file.path in folders:
            problem = "other objects need a folder of the same name"
        elif any(len(os.fsencode(part)) > 255 for part in file.path.parts):
            problem = "a part of its key is too long for a file name"
        else:
            continue
        raise DownloadError(f"Data download failed: channel {channel.name}: {file.location.uri}: {problem}")
    if len(paths) != len(files):
        raise DownloadError(f"Data download failed: channel {channel.name}: two objects have the same path")
