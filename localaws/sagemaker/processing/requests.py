"""A processing job's request as plain data: what CreateProcessingJob asks for, once it has been read and checked."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from localaws.sagemaker.jobs.requests import JobRequest, Location


@dataclass(frozen=True)
class Output:
    """A folder of the container and where its files go. `is_continuous`: while the job runs, else at its end."""

    name: str
    store: Location
    local_path: PurePosixPath
    is_continuous: bool


@dataclass(frozen=True)
class ProcessingRequest(JobRequest):
    """A valid request."""

    outputs: tuple[Output, ...]
