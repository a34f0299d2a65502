"""What CreateHyperParameterTuningJob refuses, and the operations on the tuning jobs that there are."""

from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.localaws.callers import allow, make_user
from tests.localaws.sagemaker.tuning.tuning_rooms import BOWL, LIMITS, RATE, WIDTH, TuningRoom

CONTINUOUS, CHOICES = "ContinuousParameterRanges", "CategoricalParameterRanges"
KIND = {"Name": "kind", "Values": ["a", "b"]}


def ranges(name: str, *given: dict[str, Any]) -> dict[str, Any]:
    return {"ParameterRanges": {name: list(given)}}


def warm(kind: str, *parents: str) -> dict[str, Any]:
    names = [{"HyperParameterTuningJobName": each} for each in parents]
    return {"WarmStartConfig": {"ParentHyperParameterTuningJobs": names, "WarmStartType": kind}}


REFUSALS: Sequence[tuple[str, dict[str, Any], str]] = (
    ("transfer", warm("TransferLearning", "parent"), "WarmStartType 'TransferLearning'"),
    ("autotune", {"Autotune": {"Mode": "Enabled"}}, "does not support Autotune"),
    ("auto ranges", {"ParameterRanges": {"AutoParameters": [{"Name": "a", "ValueHint": "1"}]}}, "AutoParameters"),
    ("convergence", {"TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}},
     "CompleteOnConvergence 'Enabled'"),
    ("metric", {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "cost"}},
     "A metric is required for this hyperparameter tuning job objective"),
    ("no ranges", {"ParameterRanges": {}}, "at least one range is required"),
    ("no number", ranges(CONTINUOUS, {**RATE, "MinValue": "low"}), "MinValue 'low' is not a number"),
    ("infinite", ranges(CONTINUOUS, {**RATE, "MaxValue": "inf"}), "MaxValue 'inf' is not a number"),
    ("no integer", ranges("IntegerParameterRanges", {**WIDTH, "MaxValue": "2.5"}), "MaxValue '2.5' is not an integer"),
    ("order", ranges(CONTINUOUS, {**RATE, "MinValue": "1"}), "MinValue 1 must be less than MaxValue 1"),
    ("log of 0", ranges(CONTINUOUS, {**RATE, "ScalingType": "Logarithmic"}), "values greater than 0"),
    ("reverse to 1", ranges(CONTINUOUS, {**RATE, "ScalingType": "ReverseLogarithmic"}), "0 <= x < 1.0"),
    ("reverse integer", ranges("IntegerParameterRanges", {**WIDTH, "ScalingType": "ReverseLogarithmic"}), "continuous"),
    ("same values", ranges(CHOICES, {"Name": "kind", "Values": ["a", "a"]}), "must be distinct"),
    ("same names", ranges(CONTINUOUS, RATE, RATE), "one range or static value each: rate"),
    ("static too", {"static": {"rate": "1"}}, "one range or static value each: rate"),
    ("few", ranges(CHOICES, KIND), "combinations for the provided ranges [2.0] must be equal or greater"),
    ("no maximum", {"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, "MaxNumberOfTrainingJobs is required"),
    ("grid of numbers", {"Strategy": "Grid"}, "Only categorical parameter ranges are supported"),
    ("grid size", {"Strategy": "Grid", **ranges(CHOICES, KIND)}, "[4] must equal the number of combinations"),
    ("hyperband", {"Strategy": "Hyperband"}, "MaxResource parameter is not provided and could not be inferred"),
    ("hyperband auto", {"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "must be Off"),
    ("resource", {"Strategy": "Hyperband", "static": {"epochs": "2"},
                  "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 3}}}, "MinResource 3 and MaxResource"),
    ("not hyperband", {"StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 3}}}, "Hyperband strategy only"),
    ("parallel", {"ResourceLimits": {"MaxNumberOfTrainingJobs": 200, "MaxParallelTrainingJobs": 101}}, "limit of 100"),
    ("jobs", {"ResourceLimits": {**LIMITS, "MaxNumberOfTrainingJobs": 751}}, "limit of 750"),
    ("program", {"static": {"sagemaker_program": ""}}, "the hyperparameter sagemaker_program"),
    ("role", {"definition": {"RoleArn": "arn:aws:iam::123456789012:role/nobody"}}, "Could not assume role"),
    ("bucket", {"definition": {"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket-here/x"}}}, "does not exist"),
    ("retries", {"definition": {"RetryStrategy": {"MaximumRetryAttempts": 1}}}, "does not support RetryStrategy"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS])
def test_a_request_that_cannot_be_carried_out_is_refused_by_name(
    tuning: TuningRoom, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError) as refusal:
        tuning.start(BOWL, **changes)

    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    assert message in refusal.value.response["Error"]["Message"]


def test_several_training_definitions_are_refused_by_name(tuning: TuningRoom) -> None:
    request = tuning.request(BOWL)
    request["TrainingJobDefinitions"] = [request["TrainingJobDefinition"]]

    with pytest.raises(ClientError, match="does not support TrainingJobDefinitions"):
        tuning.client.create_hyper_parameter_tuning_job(**request)


def test_more_parallel_instances_than_the_account_has_are_refused(tuning: TuningRoom) -> None:
    with pytest.raises(ClientError, match="for training job usage") as refusal:
        tuning.start(BOWL, ResourceLimits={"MaxNumberOfTrainingJobs": 30, "MaxParallelTrainingJobs": 21})

    assert refusal.value.response["Error"]["Code"] == "ResourceLimitExceeded"


def test_who_may_not_pass_the_role_or_create_the_job_is_denied(localaws: RunningLocalAws, tuning: TuningRoom) -> None:
    request = tuning.request(BOWL)
    action = "sagemaker:CreateHyperParameterTuningJob"
    arn = (
        f"arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{request['HyperParameterTuningJobName']}"
    )
    for allowed, missing in (([allow(action, arn)], "iam:PassRole"), ([allow("iam:PassRole")], action)):
        somebody = make_user(localaws, *allowed)
        with pytest.raises(ClientError, match=missing) as refusal:
            somebody.client("sagemaker").create_hyper_parameter_tuning_job(**request)
        assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"
    large = {"StringEquals": {"sagemaker:InstanceTypes": "ml.m5.24xlarge"}}
    limited = make_user(localaws, allow("iam:PassRole"), allow(action, arn, Condition=large))
    with pytest.raises(ClientError, match="AccessDenied"):
        limited.client("sagemaker").create_hyper_parameter_tuning_job(**request)


def test_two_tuning_jobs_at_once_keep_to_their_own_and_are_listed_and_deleted(tuning: TuningRoom) -> None:
    names = [tuning.start(BOWL, Tags=[{"Key": "k", "Value": "1"}]) for _ in range(2)]

    for name in names:
        done = tuning.end_of(name)
        losses = tuning.losses(name)
        assert (done["HyperParameterTuningJobStatus"], len(losses)) == ("Completed", 4)
        assert all(each.startswith(f"{name}-") for each in losses)
        assert done["BestTrainingJob"]["TrainingJobName"] == min(losses, key=losses.__getitem__)
        order = [job["TrainingJobName"] for job in tuning.jobs(name, SortBy="FinalObjectiveMetricValue")]
        assert order == sorted(losses, key=losses.__getitem__)
        reverse = tuning.jobs(name, SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
        assert [job["TrainingJobName"] for job in reverse] == order[::-1]
        assert tuning.jobs(name, StatusEquals="Failed") == []
    listed = tuning.client.list_hyper_parameter_tuning_jobs(NameContains=names[0], StatusEquals="Completed")
    (summary,) = listed["HyperParameterTuningJobSummaries"]
    assert (summary["Strategy"], summary["TrainingJobStatusCounters"]["Completed"]) == ("Random", 4)
    arn = summary["HyperParameterTuningJobArn"]
    tuning.client.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": "2"}])
    assert tuning.client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "2"}]

    tuning.client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=names[0])

    with pytest.raises(ClientError, match="can't find a tuning job"):
        tuning.describe(names[0])
    kept = tuning.client.list_training_jobs(NameContains=names[0])["TrainingJobSummaries"]
    assert len(kept) == 4


def test_a_name_is_taken_once(tuning: TuningRoom) -> None:
    request = tuning.request(BOWL, ResourceLimits={"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1})
    tuning.client.create_hyper_parameter_tuning_job(**request)

    with pytest.raises(ClientError, match="Choose a different name") as refusal:
        tuning.client.create_hyper_parameter_tuning_job(**request)

    assert refusal.value.response["Error"]["Code"] == "ResourceInUse"
    tuning.end_of(request["HyperParameterTuningJobName"])


def test_a_warm_start_tells_the_best_of_all_and_needs_parents_that_ended_with_the_same_names(
    tuning: TuningRoom,
) -> None:
    parent = tuning.run(BOWL, ResourceLimits={"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 3})
    name = parent["HyperParameterTuningJobName"]
    identical = warm("IdenticalDataAndAlgorithm", name)
    narrow = {**RATE, "MinValue": "0.9"}  # whose every value is worse
    with pytest.raises(ClientError, match="The set of tunable plus static HyperParameter names is not the same"):
        tuning.start(BOWL, static={"width": "5"}, **identical)
    with pytest.raises(ClientError, match="can't find a tuning job called nobody"):
        tuning.start(BOWL, **warm("IdenticalDataAndAlgorithm", "nobody"))

    done = tuning.run(BOWL, Strategy="Bayesian", **ranges(CONTINUOUS, narrow), **identical)

    own = tuning.losses(done["HyperParameterTuningJobName"])
    every = {**own, **tuning.losses(name)}
    assert done["BestTrainingJob"]["TrainingJobName"] == min(own, key=own.__getitem__)
    overall = done["OverallBestTrainingJob"]
    assert overall["TrainingJobName"] == min(every, key=every.__getitem__)
    assert overall["TuningJobName"] in (name, done["HyperParameterTuningJobName"])
