"""Plans a training job for EC2 instances, and writes the specification that each instance gets.

The job has the same inputs as one on SageMaker and does not use the SageMaker SDK. The digest of the plan is the name
of the job's folder on the instances and in S3, so that a repeated command finds its own job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.account import objects
from tasks.account.encryption import encryption_of
from tasks.account.role_policies import run_prefix
from tasks.model.code import git_commit, stage_training_code
from tasks.model.inputs import FILE_NAME, TrainingInputs
from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, NotFound
from tasks.run.handle import Run
from tasks.run.options import Ec2TrainingOptions
from tasks.run.records import DatasetRef, WeightsRef
from tasks.run.sealed import parse_json

CONNECT_SECONDS = 300.0
OVERHEAD_SECONDS = 1800.0
"""The time to install, download, pack and store checkpoints, beside the limit of the training itself."""

SHARDED_SPLITS = ("train", "validation", "test")
FOLDER = "kennel"
"""The folder of all jobs in the login's home on an instance."""


@dataclass(frozen=True)
class RemoteJob(TrainingInputs):
    """A training job on EC2 before it exists: its inputs, and how it is spread over instances."""

    instance_count: int
    processes_per_instance: int
    spot: bool
    max_runtime_seconds: int

    @property
    def spec_digest(self) -> str:
        """The sha256 of everything that may change the outcome; the market and the time limit do not."""
        return self.digest_with({"processes": [self.instance_count, self.processes_per_instance]})

    @property
    def name(self) -> str:
        """The job's name, which is also its folder's on the instances and in S3."""
        return f"ec2-{self.spec_digest[:8]}"

    @property
    def folder(self) -> str:
        """The job's folder on an instance, below the login's home."""
        return f"{FOLDER}/{self.name}"

    @property
    def checkpoints(self) -> str:
        """The S3 prefix of the checkpoints, without a slash at its end."""
        return f"{run_prefix(self.run_id)}/ec2/checkpoints/{self.name}"

    @property
    def model_key(self) -> str:
        """The S3 key of the model, in SageMaker's layout."""
        return f"{run_prefix(self.run_id)}/ec2/output/{self.name}/output/model.tar.gz"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of the training script, one word each."""
        return tuple(f"--{name}={_word(value)}" for name, value in self.hyperparameters.arguments.items())


def plan_job(run: Run, training: Ec2TrainingOptions) -> RemoteJob:
    """Package the code and return the plan of the job.

    Raises:
        SettingsRefused: the run has no staged dataset.
    """
    return describe_job(run, training, run.need(DatasetRef), run.folder / "code")


def describe_job(run: Run, training: Ec2TrainingOptions, dataset: DatasetRef, code_dir: Path) -> RemoteJob:
    """Return the plan of the job; the code is packaged in `code_dir`."""
    return RemoteJob(
        run_id=run.id,
        instance_count=training.instances,
        processes_per_instance=1,
        spot=training.spot,
        max_runtime_seconds=training.max_runtime_seconds,
        hyperparameters=training.hyperparameters,
        dataset=dataset,
        weights=run.find(WeightsRef),
        code_dir=code_dir,
        code_digest=stage_training_code(code_dir),
        git_commit=git_commit(),
    )


def instance_specs(aws: Aws, job: RemoteJob, hosts: Sequence[str]) -> list[bytes]:
    """Return spec.json for each of `hosts` (private addresses, in rank order), as training/on_instance.py reads it.

    Shards are divided as by SageMaker's ShardedByS3Key: key i goes to host i mod n. The other inputs go to every host.

    Raises:
        NotFound: the dataset's manifest is gone from S3.
        MalformedAnswer: it is not what was staged.
    """
    shards, whole = _inputs(aws, job)
    specs = []
    for rank in range(len(hosts)):
        own = [entry for split in SHARDED_SPLITS for entry in shards[split][rank :: len(hosts)]]
        spec = {
            "region": aws.region,
            "bucket": job.dataset.bucket,
            "inputs": own + whole,
            "requirements": job.hyperparameters.requirements,
            "arguments": job.arguments,
            "environment": {"KENNEL_GIT_COMMIT": job.git_commit} if job.git_commit else {},
            "hosts": list(hosts),
            "rank": rank,
            "processes_per_host": job.processes_per_instance,
            "checkpoints": job.checkpoints if job.spot else None,
            "encryption": encryption_of(aws, job.dataset.bucket).of_objects,
            "is_spot": job.spot,
            "max_runtime_seconds": job.max_runtime_seconds,
        }
        specs.append(json.dumps(spec, sort_keys=True).encode())
    return specs


def _inputs(aws: Aws, job: RemoteJob) -> tuple[dict[str, list[dict[str, str]]], list[dict[str, str]]]:
    """Return the shards by split, and the files that every host gets, each with its sha256."""
    data = job.dataset
    key = f"{data.prefix}/manifest.json"
    manifest = objects.read_object(aws, data.bucket, key)
    if manifest is None:
        why = "the dataset was removed after it was staged"
        raise NotFound("train_ec2", f"s3://{data.bucket}/{key} is gone", why, "kennel run --data <the same data>")
    try:
        shards = {
            split: [_entry(f"{data.prefix}/{row['key']}", split, row["sha256"]) for row in rows]
            for split, rows in parse_json(manifest)["splits"].items()
        }
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"s3://{data.bucket}/{key} is not the manifest that was staged ({type(error).__name__}: {error})"
        why, stage = "the object was damaged in S3, or what answers is not S3", "kennel run --data <the same data>"
        raise MalformedAnswer("train_ec2", what, why, f"{stage}, which stages it anew", is_reading=True) from error
    whole = [_entry(key, "manifest", hashlib.sha256(manifest).hexdigest())]
    if job.weights is not None:
        whole.append(_entry(f"{job.weights.prefix}/{FILE_NAME}", "weights", job.weights.sha256))
    return {split: sorted(shards.get(split, []), key=lambda e: e["key"]) for split in SHARDED_SPLITS}, whole


def _entry(key: str, folder: str, sha256: str) -> dict[str, str]:
    return {"key": key, "folder": folder, "sha256": sha256}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
