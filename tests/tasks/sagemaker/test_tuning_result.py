"""What a tuning job found: found anew from the losses of the pictures, and refused where a job says something else."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.run.aws import Aws
from tasks.run.errors import StageFailed
from tasks.run.options import Machines
from tasks.run.settings import Settings
from tasks.run.trials import COMPLETE, FAILED, Trial
from tasks.sagemaker.job_plan import SPEC_VARIABLE
from tasks.sagemaker.tuning_plan import OBJECTIVE, TuningPlan, tuning_plan
from tasks.sagemaker.tuning_result import Found, read_search
from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.training.training_rooms import make_room
from tests.localaws.sagemaker.tuning.tuning_rooms import TuningRoom
from tests.tasks.sagemaker.jobs import plan

SCRIPT = """
    import argparse, json, os
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning_rate", type=float)
    parser.add_argument("--lie", type=float, default=0)
    parser.add_argument("--fails_above", type=float, default=9)
    options = parser.parse_args()
    if options.learning_rate > options.fails_above:
        raise SystemExit("it diverged")
    # One of four pictures is hard. By batches of three and one, the hard one would count as much as the three others.
    rate = options.learning_rate
    samples = [rate, rate, rate, 1.2 - rate]
    loss = sum(samples) / len(samples)
    trial = {
        "parameters": {"learning_rate": rate}, "losses": [loss], "loss": loss, "accuracy": 0.75, "images": 4,
        "seconds": 0.1, "sample_losses": samples,
    }
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "trial.json"), "w") as file:
        json.dump(trial, file)
    print(f"validation_loss={loss + options.lie:.9g}")
"""
SPACE = '{"learning_rate": {"low": 0.1, "high": 1.0}}'
RANGE = {"Name": "learning_rate", "MinValue": "0.1", "MaxValue": "1.0", "ScalingType": "Linear"}
DEFAULT = Found(
    Trial(
        number=0,
        parameters={"learning_rate": 0.9},
        state=COMPLETE,
        losses=(0.75,),
        loss=0.75,
        accuracy=0.75,
        images=4,
        seconds=0.1,
    ),
    "",
    (0.9, 0.9, 0.9, 0.3),
    10.0,
)


@pytest.fixture
def tuning(localaws: RunningLocalAws) -> TuningRoom:
    return TuningRoom(make_room(localaws))


@pytest.fixture
def aws(localaws: RunningLocalAws, tmp_path: Path) -> Aws:
    return Aws(Settings(endpoint_url=localaws.url, home=tmp_path / "home", runs=tmp_path / "runs"))


def planned() -> TuningPlan:
    chosen = replace(plan().hyperparameters, trials=4, search_space=SPACE)
    return tuning_plan(replace(plan(), hyperparameters=chosen), "s3://b/features", Machines(search="sagemaker"))


def tuned(tuning: TuningRoom, **static: str) -> Mapping[str, Any]:
    found = tuning.run(
        SCRIPT,
        static=static,
        definition={
            "Environment": {SPEC_VARIABLE: planned().spec_digest},
            "AlgorithmSpecification": {
                **tuning.request(SCRIPT)["TrainingJobDefinition"]["AlgorithmSpecification"],
                "MetricDefinitions": [{"Name": OBJECTIVE, "Regex": rf"{OBJECTIVE}=([-+.0-9e]+)"}],
            },
        },
        HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": OBJECTIVE},
        ParameterRanges={"ContinuousParameterRanges": [RANGE]},
    )
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    return found


def test_the_trial_of_the_lowest_loss_per_picture_wins_and_is_compared_with_the_default(
    tuning: TuningRoom, aws: Aws
) -> None:
    search, billed = read_search(aws, planned(), tuned(tuning), DEFAULT)

    rates = {trial.number: trial.parameters["learning_rate"] for trial in search.trials}
    losses = {trial.number: trial.loss for trial in search.trials}
    assert [trial.number for trial in search.trials] == [0, 1, 2, 3, 4]
    assert losses == {number: pytest.approx(rate / 2 + 0.3) for number, rate in rates.items()}
    assert search.winner == min(rates, key=lambda number: rates[number]) == search.best.number
    assert search.against_default is not None
    assert search.against_default.difference == pytest.approx((rates[search.winner] - 0.9) / 2)
    assert billed >= 10.0 + 4


def test_a_job_whose_log_told_another_objective_is_refused(tuning: TuningRoom, aws: Aws) -> None:
    with pytest.raises(StageFailed, match=r"its log told an objective of .*, and its pictures have"):
        read_search(aws, planned(), tuned(tuning, lie="0.01"), DEFAULT)


def test_another_best_job_and_other_plans_are_refused_and_a_failed_trial_is_told(tuning: TuningRoom, aws: Aws) -> None:
    description = tuned(tuning, fails_above="0.5")
    search, _ = read_search(aws, planned(), description, DEFAULT)
    failed = [trial for trial in search.trials if trial.state == FAILED]
    worst = max((t for t in search.trials[1:] if t.loss is not None), key=lambda trial: trial.loss or 0.0)
    names = [job["TrainingJobName"] for job in tuning.jobs(description["HyperParameterTuningJobName"])]
    other = next(each for each in sorted(names) if each.split("-")[-2] == f"{worst.number:03d}")

    assert failed and all(trial.loss is None and "exit code: 1" in trial.reason for trial in failed)
    assert all(trial.parameters["learning_rate"] > 0.5 for trial in failed)
    with pytest.raises(StageFailed, match=r"SageMaker's best job is .*, and .* has the lowest loss"):
        read_search(aws, planned(), {**description, "BestTrainingJob": {"TrainingJobName": other}}, DEFAULT)
    with pytest.raises(StageFailed, match="of another plan"):
        read_search(aws, replace(planned(), features_uri="s3://b/others"), description, DEFAULT)
