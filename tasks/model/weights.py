"""Provide a training job with backbone weights: find the file, check that it is safetensors, upload it once.

A file that the user names is used unchanged. Otherwise the ImageNet weights are found in kennel's home, in an installed
package or at their publisher (`tasks.model.imagenet`). Random weights are used only when they are asked for.
"""

from __future__ import annotations

from pathlib import Path

from tasks.account.objects import holds_file, send_file
from tasks.model.backbones import PACKAGED
from tasks.model.imagenet import imagenet_weights
from tasks.model.inputs import FILE_NAME
from tasks.model.weights_file import named_file
from tasks.run.handle import Run
from tasks.run.options import RANDOM_WEIGHTS, ModelOptions
from tasks.run.records import WeightsRef
from tasks.run.sealed import sha256_of
from tasks.run.settings import Settings
from tasks.run.waiting import say


def find_weights(model: ModelOptions, settings: Settings) -> Path | None:
    """Return the file of the weights that the options name, or None for random weights.

    Raises:
        SettingsRefused: the named file or version does not exist.
        DataRefused: the named file is not a safetensors file.
        DownloadFailed, SourceRefused, StageFailed, WaitTimedOut, DiskFailed: as `imagenet_weights`.
    """
    if model.weights == RANDOM_WEIGHTS:
        say(f"weights: RANDOM for {model.backbone}, as asked for: expect a low accuracy")
        return None
    return named_file(model) or imagenet_weights(model.backbone, model.weights, settings)


def fetch_weights(model: ModelOptions, settings: Settings) -> None:
    """Find weights that are named or need a network, so that a command without them ends before it uploads anything.

    Raises:
        SettingsRefused, DataRefused, DownloadFailed, SourceRefused, StageFailed, WaitTimedOut, DiskFailed: as
            `find_weights`.
    """
    if model.backbone not in PACKAGED or model.weights not in (None, RANDOM_WEIGHTS):
        find_weights(model, settings)


def stage_weights(run: Run, training: ModelOptions) -> WeightsRef | None:
    """Upload the backbone's weights, if there are any, and write their location to the run's record.

    Raises:
        SettingsRefused, DataRefused, DownloadFailed, StageFailed, WaitTimedOut, DiskFailed: as `find_weights`.
        AwsFailed: S3 refused a call, or did not answer.
    """
    path = find_weights(training, run.settings)
    if path is None:
        run.forget(WeightsRef)
        return None
    weights = upload_weights(run, training.backbone, path)
    run.keep(weights)
    return weights


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
