"""Keeps folders of a job's hosts in step with S3: checkpoints of a training job, outputs of a processing job."""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import BinaryIO

from localaws.objects import Objects
from localaws.sagemaker.jobs.job_files import JobFolder
from localaws.sagemaker.jobs.requests import Location

EVERY_SECONDS = 1.0
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL)  # gone meanwhile, or a link, or no regular file


class UploadError(Exception):
    """What a job left cannot be read, or may not be stored."""


@dataclass(frozen=True)
class _Seen:
    size_bytes: int
    modified_ns: int


@dataclass
class FolderSync:
    """Keeps a folder of each host and `store` equal: down when a job starts, up while it runs and at its end.

    A file that is still being written is left for the next round; nothing is ever deleted in S3.
    """

    store: Location
    folders: Sequence[JobFolder]
    objects: Objects
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _uploaded: dict[Path, _Seen] = field(default_factory=dict)

    def restore(self) -> int:
        """Give every host the files that are in S3; return how many files there are."""
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


class Repeated:
    """Does something every second until its end."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Return when it is no longer being done."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self._act()
