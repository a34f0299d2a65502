"""Uploads a training job's model and output archives. Writes S3."""

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from localaws.errors import AwsError
from localaws.objects import Objects
from localaws.sagemaker.jobs.job_files import JobFolder
from localaws.sagemaker.jobs.requests import Location
from localaws.sagemaker.jobs.sync import UploadError
from localaws.sagemaker.training.requests import TrainingRequest

GZIP_LEVEL = 0  # stored: weights hardly compress and the archive does not leave the machine


def upload_outputs(request: TrainingRequest, ml_folders: Sequence[Path], scratch: Path, objects: Objects) -> None:
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


def _upload_all(request: TrainingRequest, ml_folders: Sequence[Path], scratch: Path, objects: Objects) -> None:
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
