"""What a job leaves: model and output archives, and checkpoints kept equal with S3. Reads hosts' folders, writes S3."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localaws.objects import Objects
from localaws.sagemaker.training_requests import JobRequest, Location

GZIP_LEVEL = 1  # weights hardly compress: level 9 costs eight times as long for 1 % less


def upload_outputs(request: JobRequest, ml_folders: Sequence[Path], scratch: Path, objects: Objects) -> str | None:
    """Upload what the hosts left in `model` and `output/data`; return the model's S3 URI, None when there is no model.

    The hosts' files are put together; where two have a file of the same name, the first host's counts.
    """
    base = f"{request.output.prefix.rstrip('/')}/{request.name}/output".lstrip("/")
    _upload(_merged([ml / "output" / "data" for ml in ml_folders]), "output", base, request, scratch, objects)
    return _upload(_merged([ml / "model" for ml in ml_folders]), "model", base, request, scratch, objects)


def _upload(
    files: dict[str, Path], name: str, base: str, request: JobRequest, scratch: Path, objects: Objects
) -> str | None:
    if not files:
        return None
    bucket = request.output.bucket
    if request.is_compressed:
        archive = scratch / f"{name}.tar.gz"
        _pack(files, archive)
        objects.upload(archive, bucket, f"{base}/{name}.tar.gz")
        archive.unlink()
        return f"s3://{bucket}/{base}/{name}.tar.gz"
    for relative, path in files.items():
        if path.is_file():
            objects.upload(path, bucket, f"{base}/{name}/{relative}")
    return f"s3://{bucket}/{base}/{name}/"


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
            tar.add(path, arcname=relative, recursive=False, filter=_without_owner)


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
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
