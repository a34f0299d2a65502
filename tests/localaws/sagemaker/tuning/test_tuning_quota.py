"""A tuning job of an account that has no instances left: it looks again, and gives up in the end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from localaws.core import Core
from localaws.quotas.account import Quotas
from localaws.sagemaker.tuning.parsing import parse_tuning_request
from localaws.sagemaker.tuning.record import TuningJobRecord
from localaws.sagemaker.tuning.runner import QUOTA_SECONDS, TuningRunner
from localaws.settings import Settings
from tests.localaws.sagemaker.tuning.tuning_rooms import LIMITS, LOSS, RATE
from tests.polling import wait_until

REAL_SECONDS = 3.0

PARAMETERS: Mapping[str, Any] = {
    "HyperParameterTuningJobName": "t",
    "HyperParameterTuningJobConfig": {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "ResourceLimits": LIMITS,
        "ParameterRanges": {"ContinuousParameterRanges": [RATE]},
    },
    "TrainingJobDefinition": {"AlgorithmSpecification": {"MetricDefinitions": [LOSS]}},
}


def test_it_gives_up_after_its_patience_with_the_words_of_the_quota(tmp_path: Path) -> None:
    asked: list[str] = []

    def refuse(parameters: Mapping[str, Any]) -> NoReturn:
        asked.append(parameters["HyperParameters"]["rate"])
        Quotas("new").require_instances("ml.m5.large", "training job", current=0, wanted=1)
        raise AssertionError("a new account has no such instance")

    core = Core(Settings(home=tmp_path, time_scale=QUOTA_SECONDS / REAL_SECONDS))
    record = TuningJobRecord(parse_tuning_request(PARAMETERS), "arn")
    runner = TuningRunner(core, record, refuse)

    runner.start()
    wait_until(lambda: record.is_terminal, "the end of the tuning job", seconds=60)

    described = record.describe()
    assert described["HyperParameterTuningJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError: The account-level service limit 'ml.m5.large for")
    assert len(asked) >= 3 and len(set(asked)) == 1, "it proposes nothing else meanwhile"
    assert described["ConsumedResources"]["RuntimeInSeconds"] >= int(REAL_SECONDS)
