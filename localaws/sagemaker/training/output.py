"""Uploads a job's model and output archives, and keeps its checkpoints in step with S3. Writes S3."""

import errno
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import BinaryIO

from localaws.errors import AwsError
from localaws.objects import Objects
from localaws.sagemaker.training.job_files import JobFolder
from localaws.sagemaker.training.requests import JobRequest, Location

NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL)  # gone meanwhile, or a link, or no regular file
GZIP_LEVEL = 0  # stored: weights hardly compress and the archive does not leave the machine


class UploadError(Exception):
    """What a job left cannot be read, or may not be stored."""


def upload_outputs(request: JobRequest, ml_folders: Sequence[Path], scratch: Path, objects: Objects) -> None:
    """Upload what the hosts left in `model` and `output/data`, as archives unless the request wants plain files.

    The hosts' files are put together; where two have a file of the same name, the first host's counts. Nothing is
    uploaded for a folder that is empty on all hosts. Nothing of the job may run any more.

    Raises:
        UploadError: a folder of these is a link or a file on a host, or the role may not write there.
    """
    try:
        _upload_all(request, ml_folders, scratch, objects)
    except AwsError as error:
        raise UploadError(f"Data upload failed: {request.output.uri}: {error}") from error


def _upload_all(request: JobRequest, ml_folders: Sequence[Path], scratch: Path, objects: Objects) -> None:
    for name, folder in (("output", "output/data"), ("model", "model")):
        files = _merged([JobFolder(ml, PurePath(folder)) for ml in ml_folders])
        if files and request.is_compressed:
            _upload_archive(files, request.output_of(name), scratch / f"{name}.tar.gz", objects)
        elif files:
            _upload_files(files, request.output_of(name), objects)


def _upload_archive(files: Mapping[PurePath, JobFolder], target: Location, archive: Path, objects: Objects) -> None:
    _pack(files, archive)
    objects.upload(archive, target.bucket, target.prefix)
    archive.unlink()


def _upload_files(files: Mapping[PurePath, JobFolder], target: Location, objects: Objects) -> None:
    """Upload files and what links to files in /opt/ml lead to; an archive has links as they are."""
    for name, folder in files.items():
        found = folder.target(name)
        if found is not None and (folder.path / name).is_file():
            with found[0].open(found[1]) as file:
                objects.store(file, target.bucket, f"{target.prefix}{name}")


def _merged(folders: Sequence[JobFolder]) -> dict[PurePath, JobFolder]:
    merged: dict[PurePath, JobFolder] = {}
    for folder in folders:
        try:
            names = folder.names()
        except OSError as error:
            raise UploadError(f"Data upload failed: {error}") from error
        for name in names:
            merged.setdefault(name, folder)
    return merged


def _pack(files: Mapping[PurePath, JobFolder], archive: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=GZIP_LEVEL) as tar:
        for name, folder in files.items():
            tar.add(folder.path / name, arcname=str(name), recursive=False, filter=_as_in_a_container)


def _as_in_a_container(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Make it root's and readable by all, as a container's umask leaves it; ours is closed, and models go to AWS."""
    member.mode |= (member.mode & 0o500) >> 3 | (member.mode & 0o500) >> 6
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


@dataclass(frozen=True)
class _Seen:
    size_bytes: int
    modified_ns: int


@dataclass
class CheckpointSync:
    """Keeps the hosts' checkpoint `folders` and `store` equal: down when a job starts, up while it runs and at its end.

    A file that is still being written is left for the next round; nothing is ever deleted in S3.
    """

    store: Location
    folders: Sequence[JobFolder]
    objects: Objects
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _uploaded: dict[Path, _Seen] = field(default_factory=dict)

    def restore(self) -> int:
        """Give every host the checkpoints that are in S3; return how many files there are."""
        base = self._base()
        keys = [info.key for info in self.objects.list(self.store.bucket, base) if not info.key.endswith("/")]
        for folder in self.folders:
            for key in keys:
                path = folder.path / key[len(base) :]
                if ".." not in path.parts:
                    self.objects.download(self.store.bucket, key, path)
                    self._uploaded[path] = _seen(path.stat())
        return len(keys)

    def upload(self, *, final: bool) -> int:
        """Upload what changed since the last round and, unless `final`, is not changing; return how many files.

        Raises:
            OSError: a folder is a link or a file, or a file cannot be read.
        """
        count = 0
        for folder in self.folders:
            for name in folder.names():
                try:
                    file = folder.open(name)
                except OSError as error:
                    if error.errno in NO_FILE:
                        continue
                    raise
                with file:
                    count += self._upload(file, folder.path / name, name, final=final)
        return count

    def _upload(self, file: BinaryIO, path: Path, name: PurePath, *, final: bool) -> bool:
        now = _seen(os.fstat(file.fileno()))
        is_settled = final or self._seen.get(path) == now
        self._seen[path] = now
        if not is_settled or self._uploaded.get(path) == now:
            return False
        self.objects.store(file, self.store.bucket, f"{self._base()}{name}")
        self._uploaded[path] = now
        return True

    def _base(self) -> str:
        return f"{self.store.prefix.rstrip('/')}/" if self.store.prefix else ""


def _seen(status: os.stat_result) -> _Seen:
    return _Seen(status.st_size, status.st_mtime_ns)
