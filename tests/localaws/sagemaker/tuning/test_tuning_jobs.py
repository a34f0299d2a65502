"""Tuning jobs through boto3: every training job here really runs, by the entry point of AWS's image."""

import pytest
from botocore.exceptions import ClientError

from tests.localaws.sagemaker.tuning.tuning_rooms import BOWL, RATE, WIDTH, TuningRoom


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_search_runs_its_training_jobs_and_names_the_best(tuning: TuningRoom, strategy: str) -> None:
    ranges = {"ContinuousParameterRanges": [RATE], "IntegerParameterRanges": [WIDTH]}

    done = tuning.run(BOWL, Strategy=strategy, ParameterRanges=ranges, Tags=[{"Key": "kennel:run", "Value": "r1"}])

    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["TrainingJobStatusCounters"] == {
        **dict.fromkeys(("InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0),
        "Completed": 4,
    }
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    losses = tuning.losses(done["HyperParameterTuningJobName"])
    best = done["BestTrainingJob"]
    assert best["TrainingJobName"] == min(losses, key=losses.__getitem__)
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == min(losses.values())
    values = best["TunedHyperParameters"]
    assert (float(values["rate"]) - 0.3) ** 2 + (int(values["width"]) - 5) ** 2 == pytest.approx(
        min(losses.values()), abs=1e-8
    )
    job = tuning.room.describe(best["TrainingJobName"])
    assert job["TuningJobArn"] == done["HyperParameterTuningJobArn"]
    assert job["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert tuning.client.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"] == [{"Key": "kennel:run", "Value": "r1"}]


def test_a_missing_job_is_told_in_amazons_words(tuning: TuningRoom) -> None:
    with pytest.raises(ClientError, match="can't find a tuning job called none") as missing:
        tuning.describe("none")

    assert missing.value.response["Error"]["Code"] == "ResourceNotFound"
