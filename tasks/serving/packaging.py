"""Put the packages that a model needs into its archive, so that AWS's inference image installs them without an index.

That image runs `pip install -r code/requirements.txt` at each start of an instance, so at each scale-out
(github.com/aws/sagemaker-pytorch-inference-toolkit, torchserve.py). With the archive of this module pip reads wheels
beside that file, checks their sha256, and asks no server. The wheels are downloaded once and kept in kennel's home.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tasks.account.objects import bucket_and_key, fetch_object, object_exists, send_file
from tasks.account.role_policies import run_prefix
from tasks.run.disk import disk_boundary, pieces_of
from tasks.run.errors import StageFailed
from tasks.run.handle import Run
from tasks.run.model_archive import opened
from tasks.run.records import TrainedModel
from tasks.run.waiting import say

LOCK = Path(__file__).with_name("image") / "model.txt"
WHEELS = "code/wheels"
REQUIREMENTS = "code/requirements.txt"
NOT_SERVED = frozenset({"model.safetensors", REQUIREMENTS})
_OFFLINE = f"--no-index\n--find-links /opt/ml/model/{WHEELS}\n"
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
_DOWNLOAD_SECONDS = 900.0


def serving_archive(run: Run, model: TrainedModel, lock: Path = LOCK) -> str:
    """Return the S3 URI of the archive that the run's endpoint is to serve, after making it if it is not there.

    It is the trained model itself where no image installs anything: with an image of one's own, and locally.

    Raises:
        StageFailed: the wheels could not be downloaded, or have another sha256 than those of the lock.
        AwsFailed: S3 refused.
        DiskFailed: a file cannot be written.
    """
    uri = serving_uri(run, model, lock)
    if uri != model.model_uri and not object_exists(run.aws, uri):
        bucket, key = bucket_and_key(uri)
        wheels = fetch_wheels(run.settings.home / "wheels", lock)
        run.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=run.folder, prefix=".serving-") as scratch:
            trained, packed = Path(scratch) / "trained.tar.gz", Path(scratch) / "model.tar.gz"
            fetch_object(run.aws, model.model_uri, trained)
            add_wheels(trained, wheels, packed, lock)
            send_file(run.aws, packed, bucket, key, "upload the model with its packages")
    return uri


def serving_uri(run: Run, model: TrainedModel, lock: Path = LOCK) -> str:
    """Return the S3 URI that the archive which is served has or will have.

    Raises:
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    if run.settings.serving_image is not None or not run.aws.target.installs_requirements:
        return model.model_uri
    digest = hashlib.sha256(model.model_uri.encode() + lock.read_bytes()).hexdigest()[:16]
    return f"s3://{run.aws.bucket}/{run_prefix(run.id)}/serving/{digest}/model.tar.gz"


def fetch_wheels(folder: Path, lock: Path = LOCK) -> tuple[Path, ...]:
    """Return the wheels of a lock, after downloading those that `folder` lacks with pip, which checks each sha256.

    Raises:
        StageFailed: pip failed; the error has the end of its output.
        DiskFailed: the folder cannot be made.
    """
    own = folder / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    wanted = _hashes(lock)
    if {_sha256(path) for path in own.glob("*.whl")} != wanted:
        say(f"downloading {len(wanted)} packages for AWS's inference image, once: {own}")
        with disk_boundary("packages", own):
            own.mkdir(parents=True, exist_ok=True, mode=0o700)
        _download(lock, own)
    return tuple(sorted(path for path in own.glob("*.whl") if _sha256(path) in wanted))


def add_wheels(archive: Path, wheels: Iterable[Path], target: Path, lock: Path = LOCK) -> None:
    """Write a model.tar.gz like `archive` that has the wheels, and requirements.txt naming only them.

    What serving does not read (`model.safetensors`) is left out.

    Raises:
        StageFailed: the archive is damaged or cannot be read.
        DiskFailed: the target cannot be written, or a wheel cannot be read.
    """
    with (
        opened(archive, str(archive)) as source,
        disk_boundary("packages", target, archive.stat().st_size),
        tarfile.open(target, "w:gz", compresslevel=1) as packed,
    ):
        for member in source:
            if member.isreg() and member.name.removeprefix("./") not in NOT_SERVED:
                packed.addfile(member, source.extractfile(member))
        _add(packed, REQUIREMENTS, (_OFFLINE + lock.read_text(encoding="utf-8")).encode())
        for wheel in wheels:
            _add(packed, f"{WHEELS}/{wheel.name}", b"".join(pieces_of(wheel, "packages")))


def _add(packed: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    packed.addfile(member, io.BytesIO(content))


def _download(lock: Path, folder: Path) -> None:
    platforms = [part for name in _PLATFORMS for part in ("--platform", name)]
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp", *platforms]
    command += ["--require-hashes", "--requirement", str(lock), "--dest", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _not_downloaded(f"pip did not end within {_DOWNLOAD_SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise _not_downloaded((done.stderr or done.stdout).strip()[-600:])


def _not_downloaded(why: str) -> StageFailed:
    more = "run the same command again; or serve with an image of your own (docs/aws.md): export KENNEL_SERVING_IMAGE=…"
    return StageFailed("endpoint", "the packages for AWS's inference image could not be downloaded", why, more)


def _hashes(lock: Path) -> set[str]:
    return {line.rpartition("sha256:")[2].strip() for line in lock.read_text().splitlines() if "--hash=" in line}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
