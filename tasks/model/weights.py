"""Provide a training job with backbone weights: find the file, check that it is safetensors, upload it once.

A file that the user names is used unchanged. The ImageNet weights in an installed package are exported by code of
training/ in a separate process, because it imports torch. Without either, the job starts from random weights, and a
warning is logged.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from tasks.account.objects import holds_file, send_file
from tasks.model.backbones import PACKAGED
from tasks.model.code import REPOSITORY
from tasks.run.disk import disk_boundary
from tasks.run.errors import DataRefused, SettingsRefused, StageFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.options import ModelOptions
from tasks.run.record_store import write_atomically
from tasks.run.records import WeightsRef
from tasks.run.sealed import parse_json, sha256_of
from tasks.run.waiting import say

FILE_NAME = "backbone.safetensors"

EXPORT_SECONDS = 120
_EXPORT = "import sys; from training.weights import packaged_weights as p; sys.stdout.buffer.write(p(sys.argv[1]))"
_MAX_HEADER_BYTES = 100 * 2**20


def find_weights(backbone: str, named: Path | None, home: Path) -> Path | None:
    """Return the weights file that the user named, or the packaged one, or None for random weights.

    Raises:
        SettingsRefused: the named file does not exist.
        DataRefused: the named file is not a safetensors file.
        StageFailed: the packaged weights could not be exported.
        WaitTimedOut: the export took longer than `EXPORT_SECONDS`.
    """
    if named is not None:
        if not named.is_file():
            why = "there is no such file"
            raise SettingsRefused("weights", str(named), why, "name a .safetensors file, or leave --weights out")
        check_safetensors(named)
        return named
    if backbone == PACKAGED:
        return _export_packaged(backbone, home / "weights" / f"{backbone}.safetensors")
    say(f"weights: NONE for {backbone}: the training starts from random weights; --weights FILE.safetensors names some")
    return None


def stage_weights(run: Run, training: ModelOptions) -> WeightsRef | None:
    """Upload the backbone's weights, if there are any, and write their location to the run's record.

    Raises:
        SettingsRefused, DataRefused, StageFailed, WaitTimedOut: as `find_weights`.
        AwsFailed: S3 refused a call, or did not answer.
    """
    path = find_weights(training.backbone, training.weights, run.settings.home)
    if path is None:
        run.forget(WeightsRef)
        return None
    weights = upload_weights(run, training.backbone, path)
    run.keep(weights)
    return weights


def check_safetensors(path: Path) -> None:
    """Refuse a file without a safetensors header (format: huggingface.co/docs/safetensors).

    Raises:
        DataRefused: the header is not a length followed by a JSON object within the file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, path.stat().st_size - 8):
                raise ValueError(f"its header claims a length of {length} bytes")
            if not isinstance(parse_json(file.read(length)), dict):
                raise ValueError("its header is not a JSON object")
    except ValueError as error:
        convert = "convert it: safetensors.torch.save_file(model.state_dict(), 'backbone.safetensors')"
        raise DataRefused("weights", f"{path} is not a safetensors file", str(error), convert) from error


def upload_weights(run: Run, backbone: str, path: Path) -> WeightsRef:
    """Upload the weights to weights/<backbone>/<sha256[:16]>/ unless they exist there, and return their location.

    Raises:
        AwsFailed: S3 refused a call, or did not answer.
    """
    sha256 = sha256_of(path)
    bucket, prefix, size = run.aws.bucket, f"weights/{backbone}/{sha256[:16]}", path.stat().st_size
    key = f"{prefix}/{FILE_NAME}"
    if holds_file(run.aws, bucket, key, path):
        run.ledger.adopt("s3-prefix", f"s3://{bucket}/{prefix}/")
    else:
        with run.ledger.create("s3-prefix", f"s3://{bucket}/{prefix}/", None):
            send_file(run.aws, path, bucket, key, f"upload weights of {backbone}")
    return WeightsRef(bucket, prefix, backbone, sha256, size)


def _export_packaged(backbone: str, path: Path) -> Path:
    """Return the exported weights, whose sha256 lies beside them; weights that it does not fit are exported anew."""
    digest = path.with_suffix(".sha256")
    if path.is_file() and digest.is_file():
        if sha256_of(path).encode() == digest.read_bytes().strip():
            return path
        say(f"WARNING: {path} is damaged, and it is exported anew")
    content = _packaged(backbone)
    with disk_boundary("weights", digest):
        digest.unlink(missing_ok=True)
    write_atomically(path, content)
    write_atomically(digest, f"{hashlib.sha256(content).hexdigest()}\n".encode())
    return path


def _packaged(backbone: str) -> bytes:
    """Return the content of the packaged weights, which a process of its own reads: it imports torch."""
    command = [sys.executable, "-c", _EXPORT, backbone]
    say(f"weights: exporting the ImageNet weights of {backbone} from an installed package")
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=EXPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        why = f"the export was not finished after {EXPORT_SECONDS} s"
        raise WaitTimedOut("weights", f"exporting {backbone}", why, "run the same command again") from error
    if done.returncode != 0:
        install = "install kennel again (make setup)"
        raise StageFailed(
            "weights", f"exporting {backbone} failed", done.stderr.decode(errors="replace")[-1500:], install
        )
    return done.stdout
