"""SageMaker's hyperparameter tuning operations, in the place of those of moto's backend and responses.

Create checks the request and starts the job, Describe and the two lists show the record, Stop acts on the runner.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter

from localaws.core import Core
from localaws.errors import AwsError
from localaws.paging import page_of
from localaws.sagemaker.jobs.operations import all_backends, is_within
from localaws.sagemaker.training.operations import TrainingJobs
from localaws.sagemaker.training.parsing import parse_request
from localaws.sagemaker.training.runner import TrainingRunner
from localaws.sagemaker.tuning.parsing import parse_tuning_request
from localaws.sagemaker.tuning.record import TuningJobRecord
from localaws.sagemaker.tuning.requests import TuningRequest
from localaws.sagemaker.tuning.runner import TuningRunner
from localaws.sagemaker.tuning.trials import Trial

PAGE_SIZE = 10
MOST_AT_ONCE = 100  # https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html
JOB_KEYS = {
    "Name": lambda record: record.name,
    "CreationTime": lambda record: record.creation_time,
    "Status": lambda record: record.status,
}
TRIAL_KEYS = {
    "Name": lambda trial: trial.job.training_job_name,
    "CreationTime": lambda trial: trial.job.creation_time,
    "Status": lambda trial: trial.job.training_job_status,
    "FinalObjectiveMetricValue": lambda trial: trial.shown_value,
}


class TuningJobs(TrainingJobs):
    """Overrides moto's tuning operations. `hyper_parameter_tuning_jobs` is moto's own attribute: tagging reads it."""

    hyper_parameter_tuning_jobs: dict[str, TuningJobRecord]

    @property
    def tuning_runners(self) -> dict[str, TuningRunner]:
        """The runners by job name; kept outside of moto's state."""
        runners: dict[str, TuningRunner] = self.__dict__.setdefault("_tuning_runners", {})
        return runners

    def start_tuning_job(self, parameters: Mapping[str, Any]) -> TuningJobRecord:
        """Check the request, start the job and return its record at once.

        Raises:
            ValidationError: as `parse_tuning_request` and CreateTrainingJob.
            AwsError: ResourceLimitExceeded, more instances or jobs at once than the account may have.
            ResourceInUseException: a job with this name exists.
        """
        request = parse_tuning_request(parameters)
        arn = str(arn_formatter("hyper-parameter-tuning-job", request.name, self.account_id, self.region_name))
        parents = [self._parent_of(request, name) for name in request.parents]
        self._check_training_jobs(request, arn)
        with self._create_lock:
            if request.name in self.hyper_parameter_tuning_jobs:  # amazon-sagemaker-examples issue 2440
                raise ResourceInUseException(
                    f"A hyperparameter tuning job with the name, {request.name}, already exists. Choose a different "
                    "name."
                )
            self._require_tuning_quota()
            record = TuningJobRecord(request, arn, parents)
            runner = TuningRunner(self.core, record, self._start_trial)
            self.hyper_parameter_tuning_jobs[request.name] = record
            self.tuning_runners[request.name] = runner
        runner.start()
        return record

    def _start_trial(self, parameters: Mapping[str, Any]) -> TrainingRunner:
        return self.runners[self.start_training_job(parameters).request.name]

    def _check_training_jobs(self, request: TuningRequest, arn: str) -> None:
        """Check a training job like those to come as CreateTrainingJob does, and that there may be enough of them."""
        self.require_own_region()
        values = {each.name: "0" for each in request.ranges}
        job = parse_request(request.training_job(f"{request.name}-001-00000000", arn, values), self.core)
        self.require_training_quota(job, copies=min(request.max_parallel, request.max_jobs))

    def _require_tuning_quota(self) -> None:
        running = sum(not record.is_terminal for record in self.hyper_parameter_tuning_jobs.values())
        if running >= MOST_AT_ONCE:
            text = f"The limit of {MOST_AT_ONCE} hyperparameter tuning jobs at once is reached."
            raise AwsError("ResourceLimitExceeded", text)

    def _parent_of(self, request: TuningRequest, name: str) -> TuningJobRecord:
        parent = self.find_tuning_job(name)
        if not parent.is_terminal:
            raise ValidationError(f"The parent tuning job {name} is {parent.status}; it has to have ended.")
        names = [{*each.static, *(one.name for one in each.ranges)} for each in (request, parent.request)]
        if names[0] != names[1]:  # amazon-sagemaker-examples issue 861
            raise ValidationError(
                "The set of tunable plus static HyperParameter names is not the same across current and parent tuning "
                "jobs. Please ensure this set is constant when warm starting. Note that previously static "
                "HyperParameters can be tuned in warm start jobs and vice versa."
            )
        if parent.request.objective != request.objective:
            raise ValidationError(f"The parent tuning job {name} has another objective.")
        return parent

    def find_tuning_job(self, name: str) -> TuningJobRecord:
        """Return the job of a name.

        Raises:
            AwsError: ResourceNotFound, there is none.
        """
        record = self.hyper_parameter_tuning_jobs.get(name)
        if record is None:  # amazon-sagemaker-examples issue 1540
            text = f"Amazon SageMaker can't find a tuning job called {name}. Type another name."
            raise AwsError("ResourceNotFound", text)
        return record

    def stop_tuning_job(self, name: str) -> None:
        """Ask a job to stop, with its training jobs; stopping it again changes nothing.

        Raises:
            AwsError: ResourceNotFound, there is no such job.
            ValidationError: it has ended.
        """
        record = self.find_tuning_job(name)
        if not self.tuning_runners[name].stop():
            raise ValidationError(
                f"The request was rejected because the hyperparameter tuning job is in status {record.status}."
            )

    def delete_tuning_job(self, name: str) -> None:
        """Forget a job that has ended; its training jobs stay.

        Raises:
            AwsError: ResourceNotFound, there is no such job.
            ResourceInUseException: it has not ended.
        """
        record = self.find_tuning_job(name)
        if not record.is_terminal:
            raise ResourceInUseException(
                f"Hyperparameter tuning job {record.arn} is in status {record.status} and cannot be deleted."
            )
        del self.hyper_parameter_tuning_jobs[name], self.tuning_runners[name]

    def reset(self) -> None:
        """End every job, then forget all state."""
        for runner in list(self.tuning_runners.values()):
            runner.close()
        super().reset()


def select_jobs(records: Mapping[str, TuningJobRecord], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return ListHyperParameterTuningJobs's reply: filtered, then sorted, then paged."""
    found = [record for record in list(records.values()) if _matches(record, parameters)]
    found.sort(key=JOB_KEYS[parameters.get("SortBy") or "Name"], reverse=_is_descending(parameters))
    page, following = page_of(
        found, parameters.get("NextToken"), parameters.get("MaxResults") or PAGE_SIZE, service="sagemaker"
    )
    rows = {"HyperParameterTuningJobSummaries": [record.summary() for record in page]}
    return {**rows, "NextToken": following} if following else rows


def select_trials(record: TuningJobRecord, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return ListTrainingJobsForHyperParameterTuningJob's reply; by the objective, jobs without one are left out."""
    key = parameters.get("SortBy") or "Name"
    wanted = parameters.get("StatusEquals")
    found: list[Trial] = [each for each in record.trials if wanted in (None, each.job.training_job_status)]
    if key == "FinalObjectiveMetricValue":
        found = [trial for trial in found if trial.shown_value is not None]
    found.sort(key=TRIAL_KEYS[key], reverse=_is_descending(parameters))
    page, following = page_of(
        found, parameters.get("NextToken"), parameters.get("MaxResults") or PAGE_SIZE, service="sagemaker"
    )
    rows = {"TrainingJobSummaries": [record.row_of(trial) for trial in page]}
    return {**rows, "NextToken": following} if following else rows


def _is_descending(parameters: Mapping[str, Any]) -> bool:
    return bool(parameters.get("SortOrder") == "Descending")


def _matches(record: TuningJobRecord, parameters: Mapping[str, Any]) -> bool:
    times: tuple[tuple[str, datetime], ...] = (
        ("CreationTime", record.creation_time),
        ("LastModifiedTime", record.last_modified_time),
    )
    return (
        (parameters.get("NameContains") or "") in record.name
        and parameters.get("StatusEquals") in (None, record.status)
        and all(is_within(parameters, field, moment) for field, moment in times)
    )


# --- the wire ---------------------------------------------------------------------------------------------------------


def create_hyper_parameter_tuning_job(response: Any) -> ActionResult:
    """CreateHyperParameterTuningJob."""
    record = response.sagemaker_backend.start_tuning_job(response._get_params())
    return ActionResult({"HyperParameterTuningJobArn": record.arn})


def describe_hyper_parameter_tuning_job(response: Any) -> ActionResult:
    """DescribeHyperParameterTuningJob."""
    return ActionResult(response.sagemaker_backend.find_tuning_job(_name(response)).describe())


def list_hyper_parameter_tuning_jobs(response: Any) -> ActionResult:
    """ListHyperParameterTuningJobs."""
    records = response.sagemaker_backend.hyper_parameter_tuning_jobs
    return ActionResult(select_jobs(records, response._get_params()))


def list_training_jobs_for_hyper_parameter_tuning_job(response: Any) -> ActionResult:
    """ListTrainingJobsForHyperParameterTuningJob, which moto lacks."""
    record = response.sagemaker_backend.find_tuning_job(_name(response))
    return ActionResult(select_trials(record, response._get_params()))


def stop_hyper_parameter_tuning_job(response: Any) -> EmptyResult:
    """StopHyperParameterTuningJob, which moto lacks."""
    response.sagemaker_backend.stop_tuning_job(_name(response))
    return EmptyResult()


def delete_hyper_parameter_tuning_job(response: Any) -> EmptyResult:
    """DeleteHyperParameterTuningJob."""
    response.sagemaker_backend.delete_tuning_job(_name(response))
    return EmptyResult()


OPERATIONS = (
    create_hyper_parameter_tuning_job,
    describe_hyper_parameter_tuning_job,
    list_hyper_parameter_tuning_jobs,
    list_training_jobs_for_hyper_parameter_tuning_job,
    stop_hyper_parameter_tuning_job,
    delete_hyper_parameter_tuning_job,
)


def install_tuning(core: Core) -> None:
    """Have tuning jobs run with `core`; to be called after `install_training`, whose jobs are closed after these."""
    for operation in OPERATIONS:
        setattr(SageMakerResponse, operation.__name__, operation)
    core.on_shutdown(lambda: _close_all(core))


def _name(response: Any) -> str:
    return str(response._get_param("HyperParameterTuningJobName"))


def _close_all(core: Core) -> None:
    for backend in all_backends(core):
        for runner in backend.tuning_runners.values():
            runner.close()
