"""Compares a run's training on SageMaker with the same training on EC2: models, figures, costs and environments.

The comparison uses the records of both stages and both models. It compares the weights number by number: equal weights
give equal predictions. No decision depends on the result.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.account.objects import bucket_and_key
from tasks.run.aws import Aws, transfer
from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.model_archive import extract_members
from tasks.run.progress import show_progress
from tasks.run.record_store import Amount, Count, Record
from tasks.run.records import InstanceModel, TrainedModel, TrainingResult
from tasks.run.sealed import sha256_of
from tasks.run.waiting import say

STAGE = "parity"
WEIGHTS = "model.safetensors"
MAX_WEIGHTS_BYTES = 4 * 2**30


@dataclass(frozen=True)
class ParityRow:
    """A row of the comparison: the same item for SageMaker and for EC2, in words or with its unit."""

    what: str
    sagemaker: str
    ec2: str


@dataclass(frozen=True)
class Parity(Record, file="parity.json", called="comparison of the two trainings", made_by="train_ec2"):
    """The result of the comparison.

    `largest_difference` is over all weights; 0.0 means that every prediction is the same. `accuracy_difference` is
    EC2's test accuracy minus SageMaker's, on `test_images` images.
    """

    training_job: str
    ec2_job: str
    largest_difference: Amount
    accuracy_difference: float
    test_images: Count
    verdict: str
    figures: tuple[ParityRow, ...]
    environment: tuple[ParityRow, ...]


def compare_with_sagemaker(run: Run, model: InstanceModel) -> Parity | None:
    """Compare with the run's SageMaker training and save the result; return None if the run has none.

    A saved comparison of the same two models is returned as it is.

    Raises:
        StageFailed: a model has no readable weights, or the two networks differ.
        AwsFailed: S3 refused.
        LedgerRefused: a record cannot be read.
    """
    sagemaker = run.find(TrainedModel)
    if sagemaker is None:
        say("comparison: this run has no training on SageMaker to compare with (kennel run)")
        return None
    kept = run.find(Parity)
    if kept is not None and (kept.training_job, kept.ec2_job) == (sagemaker.job_name, model.name):
        return kept
    parity = compare(run.aws, sagemaker, model)
    run.keep(parity)
    say(f"comparison: {parity.verdict}")
    return parity


def compare(aws: Aws, sagemaker: TrainedModel, ec2: InstanceModel) -> Parity:
    """Compare the two models, which are fetched from S3 unless they are on this machine.

    Raises:
        StageFailed: a model has no readable weights, or the two networks differ.
        AwsFailed: S3 refused.
    """
    with tempfile.TemporaryDirectory(prefix="kennel-") as scratch:
        first = _fetched(aws, sagemaker.model_uri, Path(scratch) / "sagemaker.tar.gz")
        here = Path(ec2.archive)
        is_same = here.is_file() and sha256_of(here) == ec2.model_sha256  # a later attempt may have replaced it
        second = here if is_same else _fetched(aws, ec2.model_uri, Path(scratch) / "ec2.tar.gz")
        difference = largest_difference(first, second)
    accuracy = ec2.test_accuracy - sagemaker.test_accuracy
    return Parity(
        training_job=sagemaker.job_name,
        ec2_job=ec2.name,
        largest_difference=difference,
        accuracy_difference=accuracy,
        test_images=ec2.test_images,
        verdict=_verdict(difference, accuracy, ec2.test_images),
        figures=figure_rows(sagemaker, ec2),
        environment=environment_rows(ec2),
    )


def _fetched(aws: Aws, uri: str, path: Path) -> Path:
    bucket, key = bucket_and_key(uri)
    with disk_boundary(STAGE, path), aws_boundary(uri), show_progress(f"fetch {uri}", None, "B") as told:
        transfer(partial(aws.client("s3").download_file, bucket, key, str(path), Callback=told.advance))
    return path


def largest_difference(first: Path, second: Path) -> float:
    """Return the largest absolute difference between the weights of two models, given as model.tar.gz files.

    Raises:
        StageFailed: a file has no readable weights, or their names or shapes differ.
        DiskFailed: there is no room to unpack them.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory(prefix="kennel-") as scratch:
        try:
            one, two = (load_file(_weights(path, Path(scratch) / str(n))) for n, path in enumerate((first, second)))
        except (OSError, ValueError, SafetensorError) as error:
            why = f"{type(error).__name__}: {error}"
            raise StageFailed(STAGE, "a model has no readable weights", why, "kennel logs") from error
    if {name: value.shape for name, value in one.items()} != {name: value.shape for name, value in two.items()}:
        why = "the names or shapes of their weights differ"
        same = "train both with the same --backbone: kennel run --ec2-instances 1"
        raise StageFailed(STAGE, "the two models are different networks", why, same)
    return max(float(np.abs(one[name].astype(np.float64) - two[name]).max(initial=0.0)) for name in one)


def figure_rows(sagemaker: TrainedModel, ec2: InstanceModel) -> tuple[ParityRow, ...]:
    """Return the measured figures of both trainings, with units."""
    shared = sorted(sagemaker.metrics.keys() & ec2.metrics.keys())
    metrics = [ParityRow(name, f"{sagemaker.metrics[name]:.6g}", f"{ec2.metrics[name]:.6g}") for name in shared]
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in ec2.seconds.items())
    return (
        *metrics,
        ParityRow("machines", _machines(sagemaker), _machines(ec2)),
        ParityRow("seconds in all", f"{sagemaker.seconds:.1f}", f"{ec2.wall_seconds:.1f} ({phases})"),
        ParityRow("billable seconds", f"{sagemaker.billable_seconds:.0f}", f"{ec2.billable_seconds:.0f}"),
        ParityRow("cost, USD, estimate", _usd(sagemaker.cost_usd), _usd(ec2.cost_usd)),
    )


def environment_rows(ec2: InstanceModel) -> tuple[ParityRow, ...]:
    """Return what the training uses on SageMaker and on EC2. The script and its arguments are the same on both."""
    given = {word.partition("=")[0]: word for word in ec2.command}
    channels = " ".join(given[name] for name in ("--train", "--validation", "--test") if name in given)
    launcher = "torch.distributed.run" if "torch.distributed.run" in ec2.command else "plain script"
    rows = (
        (
            "entry point",
            "ModelTrainer → CreateTrainingJob runs sm_train.sh, which runs the script",
            f"training.on_instance over SSH, {launcher}",
        ),
        ("data", "SM_CHANNEL_TRAIN, _VALIDATION, _TEST under /opt/ml/input/data", channels),
        ("data transfer", "channels, ShardedByS3Key", "shard i to host i mod n, from S3 with the role, sha256"),
        ("hosts", "/opt/ml/input/config/resourceconfig.json, algo-1 …", "private addresses in spec.json, port 7777"),
        (
            "model",
            "SM_MODEL_DIR=/opt/ml/model, packed and uploaded by SageMaker",
            f"{given.get('--model-dir')}, packed, fetched",
        ),
        ("checkpoints", "CheckpointConfig, /opt/ml/checkpoints", "--checkpoint-dir, stored every 10 s (spot)"),
        ("failure", "/opt/ml/output/failure → FailureReason", "--output-dir …/failure → status.json"),
        ("log and metrics", "CloudWatch Logs, metric regexes", "log.txt by byte offset, meta.json"),
        ("credentials", "execution role of the job", "instance profile, IMDSv2"),
        ("image", "AWS's PyTorch training image", "Deep Learning AMI, /opt/pytorch"),
        (
            "end of the instances",
            "SageMaker ends them",
            "kennel terminates them; otherwise the dead-man's switch does",
        ),
    )
    return tuple(ParityRow(*row) for row in rows)


def _verdict(difference: float, accuracy: float, images: int) -> str:
    if difference == 0.0:
        return f"the same model: every weight is equal, so every prediction on the {images} test images is the same"
    changed = round(abs(accuracy) * images)
    return (
        f"the weights differ by at most {difference:.3g} and the test accuracy by {accuracy:+.4f} (net {changed} of "
        f"{images} images); other hardware or another number of ranks rounds differently while computing features"
    )


def _weights(archive: Path, folder: Path) -> Path:
    """Extract only the weights, which have to be a regular file, from a model.tar.gz."""
    extract_members(archive, {WEIGHTS: MAX_WEIGHTS_BYTES}, str(archive), folder)
    return folder / WEIGHTS


def _machines(model: TrainingResult) -> str:
    return f"{model.instance_count} × {model.instance_type}{' (spot)' if model.spot else ''}"


def _usd(cost: float | None) -> str:
    return "unknown" if cost is None else f"{cost:.4f}"
