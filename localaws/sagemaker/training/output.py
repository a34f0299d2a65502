"""Uploads a job's model and output archives, and keeps its checkpoints in step with S3. Writes S3."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localaws.objects import Objects
from localaws.sagemaker.training.requests import JobRequest, Location

GZIP_LEVEL = 0  # stored: weights hardly compress and the archive does not leave the machine


def upload_outputs(request: JobRequest, ml_folders: Sequence[Path], scratch: Path, objects: Objects) -> None:
    """Upload what the hosts left in `model` and `output/data`, as archives unless the request wants plain files.

    The hosts' files are put together; where two have a file of the same name, the first host's counts. Nothing is
    uploaded for a folder that is empty on all hosts.
    """
    for name, folder in (("output", "output/data"), ("model", "model")):
        files = _merged([ml / folder for ml in ml_folders])
        if files and request.is_compressed:
            _upload_archive(files, request.output_of(name), scratch / f"{name}.tar.gz", objects)
        elif files:
            _upload_files(files, request.output_of(name), objects)


def _upload_archive(files: dict[str, Path], target: Location, archive: Path, objects: Objects) -> None:
    _pack(files, archive)
    objects.upload(archive, target.bucket, target.prefix)
    archive.unlink()


def _upload_files(files: dict[str, Path], target: Location, objects: Objects) -> None:
    for relative, path in files.items():
        if path.is_file():
            objects.upload(path, target.bucket, f"{target.prefix}{relative}")


def _merged(folders: Sequence[Path]) -> dict[str, Path]:
    merged: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or path.is_file():
                merged.setdefault(str(path.relative_to(folder)), path)
    return merged


def _pack(files: dict[str, Path], archive: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=GZIP_LEVEL) as tar:
        for relative, path in files.items():
            tar.add(path, arcname=relative, recursive=False, filter=_as_in_a_container)


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
    folders: Sequence[Path]
    objects: Objects
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _uploaded: dict[Path, _Seen] = field(default_factory=dict)

    def restore(self) -> int:
        """Give every host the checkpoints that are in S3; return how many files there are."""
        base = self._base()
        keys = [info.key for info in self.objects.list(self.store.bucket, base) if not info.key.endswith("/")]
        for folder in self.folders:
            for key in keys:
                path = folder / key[len(base) :]
                if ".." not in path.parts:
                    self.objects.download(self.store.bucket, key, path)
                    self._uploaded[path] = _stat(path)
        return len(keys)

    def upload(self, *, final: bool) -> int:
        """Upload what changed since the last round and, unless `final`, is not changing; return how many files."""
        count = 0
        for folder, path in self._files():
            try:
                now = _stat(path)
                is_settled = final or self._seen.get(path) == now
                self._seen[path] = now
                if is_settled and self._uploaded.get(path) != now:
                    self.objects.upload(path, self.store.bucket, f"{self._base()}{path.relative_to(folder)}")
                    self._uploaded[path] = now
                    count += 1
            except FileNotFoundError:
                continue  # renamed or removed by the job meanwhile
        return count

    def _base(self) -> str:
        return f"{self.store.prefix.rstrip('/')}/" if self.store.prefix else ""

    def _files(self) -> Iterator[tuple[Path, Path]]:
        for folder in self.folders:
            for parent, _, names in os.walk(folder):  # unlike rglob, it bears folders that go away meanwhile
                for path in (Path(parent) / name for name in sorted(names)):
                    if path.is_file() and not path.is_symlink():
                        yield folder, path


def _stat(path: Path) -> _Seen:
    status = path.stat()
    return _Seen(status.st_size, status.st_mtime_ns)
