"""SageMaker's processing job operations, in the place of those of moto's backend and responses.

Create checks the request and starts the job, Describe and List show the record, Stop and Delete act on the runner.
"""

import shutil
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter

from localaws.core import Core
from localaws.paging import page_of
from localaws.sagemaker.jobs.isolation import Isolation
from localaws.sagemaker.jobs.operations import all_backends, close_all, is_within, remove_leftovers
from localaws.sagemaker.processing.parsing import parse_request
from localaws.sagemaker.processing.record import ProcessingJobRecord
from localaws.sagemaker.processing.requests import ProcessingRequest
from localaws.sagemaker.processing.runner import KIND, ProcessingRunner

PAGE_SIZE = 10
SORT_KEYS = {
    "Name": lambda job: job.processing_job_name,
    "CreationTime": lambda job: job.creation_time,
    "Status": lambda job: job.processing_job_status,
}


class ProcessingJobs:
    """Overrides moto's processing job operations. `processing_jobs` is moto's own: Search and tagging read it."""

    core: ClassVar[Core]
    isolation: ClassVar[Isolation]
    account_id: str
    region_name: str
    processing_jobs: dict[str, ProcessingJobRecord]
    _processing_lock: ClassVar[threading.Lock] = threading.Lock()

    @property
    def processing_runners(self) -> dict[str, ProcessingRunner]:
        """The runners by job name; kept outside of moto's state."""
        runners: dict[str, ProcessingRunner] = self.__dict__.setdefault("_processing_runners", {})
        return runners

    def start_processing_job(self, parameters: Mapping[str, Any]) -> ProcessingJobRecord:
        """Check the request, start the job and return its record at once.

        Raises:
            ValidationError: as `parse_request`, or another region than the server's.
            AwsError: ResourceLimitExceeded, more instances than the account may have.
            ResourceInUseException: a job with this name exists.
        """
        region = self.core.settings.region
        if self.region_name != region:
            raise ValidationError(f"localaws runs processing jobs in {region} only, not in {self.region_name}.")
        request = parse_request(parameters, self.core)
        arn = str(arn_formatter("processing-job", request.name, self.account_id, self.region_name))
        with self._processing_lock:
            if request.name in self.processing_jobs:
                raise ResourceInUseException(
                    message="Job name must be unique within an AWS account and region, and a job with this name "
                    f"already exists ({arn})"
                )
            self._require_quota(request)
            record = ProcessingJobRecord(request, arn)
            runner = ProcessingRunner(self.core, record, self.isolation)
            self.processing_jobs[request.name] = record
            self.processing_runners[request.name] = runner
        runner.start()
        return record

    def _require_quota(self, request: ProcessingRequest) -> None:
        running = [job.request for job in self.processing_jobs.values() if not job.is_terminal]
        current = sum(each.instance_count for each in running if each.instance_type == request.instance_type)
        self.core.quotas.require_instances(
            request.instance_type, "processing job", current=current, wanted=request.instance_count
        )

    def describe_processing_job(self, processing_job_name: str) -> dict[str, Any]:
        """Return DescribeProcessingJob's reply."""
        return self._processing_job(processing_job_name).describe()

    def stop_processing_job(self, processing_job_name: str) -> None:
        """Ask a job to stop; stopping it again changes nothing.

        Raises:
            ValidationError: there is no such job, or it has ended.
        """
        record = self._processing_job(processing_job_name)
        if not self.processing_runners[processing_job_name].stop():
            raise ValidationError(
                f"The request was rejected because the processing job is in status {record.processing_job_status}."
            )

    def delete_processing_job(self, processing_job_name: str) -> None:
        """Forget a job that has ended.

        Raises:
            ResourceInUseException: it has not.
        """
        record = self._processing_job(processing_job_name)
        if not record.is_terminal:
            raise ResourceInUseException(
                message=f"Processing job {record.arn} is in status {record.processing_job_status} "
                "and cannot be deleted."
            )
        runner = self.processing_runners.pop(processing_job_name)
        runner.close()
        shutil.rmtree(runner.folder, ignore_errors=True)
        del self.processing_jobs[processing_job_name]

    def select_processing_jobs(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return ListProcessingJobs's reply: filtered, then sorted, then paged."""
        jobs = [job for job in list(self.processing_jobs.values()) if _matches(job, parameters)]
        descending = parameters.get("SortOrder") == "Descending"
        jobs.sort(key=SORT_KEYS[parameters.get("SortBy") or "CreationTime"], reverse=descending)
        token = parameters.get("NextToken")
        page, following = page_of(jobs, token, parameters.get("MaxResults") or PAGE_SIZE, service="sagemaker")
        summaries = {"ProcessingJobSummaries": [job.summary() for job in page]}
        return {**summaries, "NextToken": following} if following else summaries

    def reset(self) -> None:
        """End every job, then forget all state."""
        for runner in list(self.processing_runners.values()):
            runner.close()
        super().reset()  # type: ignore[misc]

    def _processing_job(self, name: str) -> ProcessingJobRecord:
        record = self.processing_jobs.get(name)
        if record is None:
            raise ValidationError(message=f"Could not find requested job with name: {name}")
        return record


def _matches(job: ProcessingJobRecord, parameters: Mapping[str, Any]) -> bool:
    return (
        (parameters.get("NameContains") or "") in job.processing_job_name
        and parameters.get("StatusEquals") in (None, job.processing_job_status)
        and is_within(parameters, "CreationTime", job.creation_time)
        and is_within(parameters, "LastModifiedTime", job.last_modified_time)
    )


# --- the wire ---------------------------------------------------------------------------------------------------------


def create_processing_job(response: Any) -> ActionResult:
    """CreateProcessingJob, with all of its parameters (moto's own passes some of them on)."""
    record = response.sagemaker_backend.start_processing_job(response._get_params())
    return ActionResult({"ProcessingJobArn": record.arn})


def list_processing_jobs(response: Any) -> ActionResult:
    """ListProcessingJobs."""
    return ActionResult(response.sagemaker_backend.select_processing_jobs(response._get_params()))


def stop_processing_job(response: Any) -> EmptyResult:
    """StopProcessingJob."""
    response.sagemaker_backend.stop_processing_job(response._get_param("ProcessingJobName"))
    return EmptyResult()


def delete_processing_job(response: Any) -> EmptyResult:
    """DeleteProcessingJob."""
    response.sagemaker_backend.delete_processing_job(response._get_param("ProcessingJobName"))
    return EmptyResult()


def install_processing(core: Core, isolation: Isolation) -> None:
    """Have processing jobs run with `core`."""
    ProcessingJobs.core = core
    ProcessingJobs.isolation = isolation
    for operation in (create_processing_job, list_processing_jobs, stop_processing_job, delete_processing_job):
        setattr(SageMakerResponse, operation.__name__, operation)
    remove_leftovers(core, KIND)
    core.on_shutdown(
        lambda: close_all([runner for backend in all_backends(core) for runner in backend.processing_runners.values()])
    )
