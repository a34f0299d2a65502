"""A training job's request as plain data: what CreateTrainingJob asks for, once it has been read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from localaws.sagemaker.jobs.requests import JobRequest, Location


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints are in S3, and in the container (under /opt/ml)."""

    store: Location
    local_path: PurePosixPath


@dataclass(frozen=True)
class TrainingRequest(JobRequest):
    """A valid request."""

    hyperparameters: Mapping[str, str]
    output: Location
    is_compressed: bool
    max_wait_seconds: int | None
    checkpoints: Checkpoints | None
    metrics: tuple[tuple[str, str], ...]

    def output_of(self, name: str) -> Location:
        """Return where the archive (or, uncompressed, the folder) `name` of the job's output goes."""
        base = f"{self.output.prefix.rstrip('/')}/{self.name}/output/{name}".lstrip("/")
        return Location(self.output.bucket, f"{base}.tar.gz" if self.is_compressed else f"{base}/")
