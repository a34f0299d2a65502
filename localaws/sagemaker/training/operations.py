"""SageMaker's training job operations, in the place of those of moto's backend and responses.

Create checks the request and starts the job, Describe and List show the record, Stop and Delete act on the runner. A
route of localaws's own, `POST /_localaws/training-jobs/{name}/interrupt?host=algo-1`, interrupts an instance of a spot
job.
"""

import shutil
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from localaws.core import Core
from localaws.paging import page_of
from localaws.sagemaker.jobs.isolation import Isolation
from localaws.sagemaker.jobs.operations import all_backends, close_all, is_within, remove_leftovers
from localaws.sagemaker.training.parsing import parse_request
from localaws.sagemaker.training.record import TrainingJobRecord
from localaws.sagemaker.training.requests import TrainingRequest
from localaws.sagemaker.training.runner import KIND, TrainingRunner

PAGE_SIZE = 10
SORT_KEYS = {
    "Name": lambda job: job.training_job_name,
    "CreationTime": lambda job: job.creation_time,
    "Status": lambda job: job.training_job_status,
}


class TrainingJobs:
    """Overrides moto's training job operations. `training_jobs` is moto's own attribute: Search and tagging read it."""

    core: ClassVar[Core]
    isolation: ClassVar[Isolation]
    account_id: str
    region_name: str
    training_jobs: dict[str, TrainingJobRecord]
    _create_lock: ClassVar[threading.Lock] = threading.Lock()

    @property
    def runners(self) -> dict[str, TrainingRunner]:
        """The runners by job name; kept outside of moto's state."""
        runners: dict[str, TrainingRunner] = self.__dict__.setdefault("_runners", {})
        return runners

    def start_training_job(self, parameters: Mapping[str, Any]) -> TrainingJobRecord:
        """Check the request, start the job and return its record at once.

        Raises:
            ValidationError: as `parse_request`, or another region than the server's.
            AwsError: ResourceLimitExceeded, more instances than the account may have.
            ResourceInUseException: a job with this name exists.
        """
        self.require_own_region()
        request = parse_request(parameters, self.core)
        arn = self.training_job_arn(request.name)
        with self._create_lock:
            if request.name in self.training_jobs:
                raise ResourceInUseException(
                    message="Training job names must be unique within an AWS account and region, "
                    f"and a training job with this name already exists ({arn})"
                )
            self.require_training_quota(request)
            delay = self.core.strictness.final_metrics
            late = delay.most / self.core.clock.scale if delay else None
            record = TrainingJobRecord(request, arn, metrics_late_seconds=late)
            runner = TrainingRunner(self.core, record, self.isolation)
            self.training_jobs[request.name] = record
            self.runners[request.name] = runner
        runner.start()
        return record

    def require_own_region(self) -> None:
        """Return in the server's region, where jobs run.

        Raises:
            ValidationError: it is another one.
        """
        region = self.core.settings.region
        if self.region_name != region:
            raise ValidationError(f"localaws runs training jobs in {region} only, not in {self.region_name}.")

    def require_training_quota(self, request: TrainingRequest, *, copies: int = 1) -> None:
        """Return if the account may have the instances of so many jobs, beside those of the jobs that run.

        Raises:
            AwsError: ResourceLimitExceeded.
        """
        kind = (request.instance_type, request.is_spot)
        running = [job.request for job in self.training_jobs.values() if not job.is_terminal]
        current = sum(each.instance_count for each in running if (each.instance_type, each.is_spot) == kind)
        use = "spot training job" if request.is_spot else "training job"
        wanted = request.instance_count * copies
        self.core.quotas.require_instances(request.instance_type, use, current=current, wanted=wanted)

    def describe_training_job(self, training_job_name: str) -> dict[str, Any]:
        """Return DescribeTrainingJob's reply."""
        return self._find(training_job_name).describe()

    def stop_training_job(self, training_job_name: str) -> None:
        """Ask a job to stop; stopping it again changes nothing.

        Raises:
            ValidationError: there is no such job, or it has ended.
        """
        record = self._find(training_job_name)
        if not self.runners[training_job_name].stop():
            raise ValidationError(
                f"The request was rejected because the training job is in status {record.training_job_status}."
            )

    def delete_training_job(self, training_job_name: str) -> None:
        """Forget a job that has ended.

        Raises:
            ResourceInUseException: it has not.
        """
        record = self._find(training_job_name)
        if not record.is_terminal:
            raise ResourceInUseException(
                message=f"Training job {record.arn} is in status {record.training_job_status} and cannot be deleted."
            )
        runner = self.runners.pop(training_job_name)
        runner.close()
        shutil.rmtree(runner.folder, ignore_errors=True)
        del self.training_jobs[training_job_name]

    def select_training_jobs(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return ListTrainingJobs's reply: filtered, then sorted, then paged."""
        jobs = [job for job in list(self.training_jobs.values()) if _matches(job, parameters)]
        descending = parameters.get("SortOrder") == "Descending"
        jobs.sort(key=SORT_KEYS[parameters.get("SortBy") or "CreationTime"], reverse=descending)
        token = parameters.get("NextToken")
        page, following = page_of(jobs, token, parameters.get("MaxResults") or PAGE_SIZE, service="sagemaker")
        summaries = {"TrainingJobSummaries": [job.summary() for job in page]}
        return {**summaries, "NextToken": following} if following else summaries

    def add_tags(self, arn: str, tags: list[dict[str, str]]) -> list[dict[str, str]]:
        """Add tags; for a job, a tag that is there already gets the new value (moto would have it twice)."""
        if not arn.rpartition(":")[2].startswith(("training-job/", "hyper-parameter-tuning-job/", "processing-job/")):
            return super().add_tags(arn, tags)  # type: ignore[misc,no-any-return]
        record = self._get_resource_from_arn(arn)  # type: ignore[attr-defined]
        merged = {tag["Key"]: tag["Value"] for tag in [*record.tags, *tags]}
        new: list[dict[str, str]] = [{"Key": key, "Value": value} for key, value in merged.items()]
        record.tags = new
        return new

    def reset(self) -> None:
        """End every job, then forget all state."""
        for runner in list(self.runners.values()):
            runner.close()
        super().reset()  # type: ignore[misc]

    def training_job_arn(self, name: str) -> str:
        """Return the ARN that a job of this name has."""
        return str(arn_formatter("training-job", name, self.account_id, self.region_name))

    def _find(self, name: str) -> TrainingJobRecord:
        record = self.training_jobs.get(name)
        if record is None:
            raise ValidationError(message="Requested resource not found.")
        return record


def _matches(job: TrainingJobRecord, parameters: Mapping[str, Any]) -> bool:
    return (
        (parameters.get("NameContains") or "") in job.training_job_name
        and parameters.get("StatusEquals") in (None, job.training_job_status)
        and is_within(parameters, "CreationTime", job.creation_time)
        and is_within(parameters, "LastModifiedTime", job.last_modified_time)
    )


# --- the wire ---------------------------------------------------------------------------------------------------------


def create_training_job(response: Any) -> ActionResult:
    """CreateTrainingJob, with all of its parameters (moto's own passes some of them on)."""
    record = response.sagemaker_backend.start_training_job(response._get_params())
    return ActionResult({"TrainingJobArn": record.arn})


def list_training_jobs(response: Any) -> ActionResult:
    """ListTrainingJobs."""
    return ActionResult(response.sagemaker_backend.select_training_jobs(response._get_params()))


def stop_training_job(response: Any) -> EmptyResult:
    """StopTrainingJob."""
    response.sagemaker_backend.stop_training_job(response._get_param("TrainingJobName"))
    return EmptyResult()


def delete_training_job(response: Any) -> EmptyResult:
    """DeleteTrainingJob."""
    response.sagemaker_backend.delete_training_job(response._get_param("TrainingJobName"))
    return EmptyResult()


def install_training(core: Core, isolation: Isolation) -> list[BaseRoute]:
    """Have training jobs run with `core`; return the route that interrupts them."""
    TrainingJobs.core = core
    TrainingJobs.isolation = isolation
    for operation in (create_training_job, list_training_jobs, stop_training_job, delete_training_job):
        setattr(SageMakerResponse, operation.__name__, operation)
    remove_leftovers(core, KIND)
    core.on_shutdown(
        lambda: close_all([runner for backend in all_backends(core) for runner in backend.runners.values()])
    )

    def interrupt(request: Request) -> Response:
        return _interrupt(core, request.path_params["name"], request.query_params.get("host", "algo-1"))

    return [Route("/_localaws/training-jobs/{name}/interrupt", interrupt, methods=["POST"])]


def _backend(core: Core) -> Any:
    from moto.sagemaker.models import sagemaker_backends

    return sagemaker_backends[core.settings.account_id][core.settings.region]


def _interrupt(core: Core, name: str, host: str) -> Response:
    runner = _backend(core).runners.get(name)
    if runner is None or host not in runner.record.request.hosts:
        return JSONResponse({"message": f"There is no training job {name!r} with a host {host!r}."}, 404)
    if not runner.record.request.is_spot:
        return JSONResponse({"message": f"Training job {name!r} does not run on spot capacity."}, 409)
    if runner.record.secondary_status != "Training":
        return JSONResponse({"message": f"Training job {name!r} is {runner.record.secondary_status}."}, 409)
    runner.interrupt(host)
    return JSONResponse({"interrupted": host}, 202)
