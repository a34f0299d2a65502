"""An account of the server under test in which scripts run as tuning jobs, by the entry point of AWS's image."""

import json
import textwrap
import uuid
from dataclasses import dataclass
from typing import Any

from tests.localaws.sagemaker.training.training_rooms import IMAGE, Room, packed
from tests.polling import wait_until

TERMINAL = ("Completed", "Failed", "Stopped")
LOSS = {"Name": "loss", "Regex": r"loss=([-+.\deE]+|nan)"}
BOWL = """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float)
    parser.add_argument("--width", type=int, default=4)
    options = parser.parse_args()
    print(f"loss={(options.rate - 0.3) ** 2 + (options.width - 5) ** 2:.9f}")
"""
RATE = {"Name": "rate", "MinValue": "0.0", "MaxValue": "1.0", "ScalingType": "Linear"}
WIDTH = {"Name": "width", "MinValue": "1", "MaxValue": "9", "ScalingType": "Linear"}
OUTER = ("WarmStartConfig", "Tags", "Autotune", "TrainingJobDefinitions")
LIMITS = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2}


@dataclass(frozen=True)
class TuningRoom:
    """A room for training jobs, and short ways to tune a script in it."""

    room: Room

    @property
    def client(self) -> Any:
        return self.room.client("sagemaker")

    def request(self, script: str, **changes: Any) -> dict[str, Any]:
        """Return a request that tunes `script` (Python); changes: fields of the config, `definition`, and `static`."""
        name = f"tune-{uuid.uuid4().hex[:12]}"
        self.room.put(f"{name}/sourcedir.tar.gz", packed({"train.py": textwrap.dedent(script)}))
        static = {
            "sagemaker_program": json.dumps("train.py"),
            "sagemaker_submit_directory": json.dumps(f"s3://{self.room.bucket}/{name}/sourcedir.tar.gz"),
            **changes.pop("static", {}),
        }
        outer: dict[str, Any] = {key: changes.pop(key) for key in OUTER if key in changes}
        definition = {
            "StaticHyperParameters": static,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [LOSS],
            },
            "RoleArn": self.room.role,
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.room.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 120},
            **changes.pop("definition", {}),
        }
        config = {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": LIMITS,
            "ParameterRanges": {"ContinuousParameterRanges": [RATE]},
            "RandomSeed": 1,
            **changes,
        }
        return {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": config,
            "TrainingJobDefinition": definition,
            **outer,
        }

    def start(self, script: str, **changes: Any) -> str:
        request = self.request(script, **changes)
        self.client.create_hyper_parameter_tuning_job(**request)
        name: str = request["HyperParameterTuningJobName"]
        return name

    def describe(self, name: str) -> dict[str, Any]:
        described: dict[str, Any] = self.client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return described

    def end_of(self, name: str, seconds: float = 240) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            described = self.describe(name)
            return described if described["HyperParameterTuningJobStatus"] in TERMINAL else None

        described: dict[str, Any] = wait_until(ended, f"end of {name}", seconds=seconds)
        return described

    def run(self, script: str, **changes: Any) -> dict[str, Any]:
        return self.end_of(self.start(script, **changes))

    def jobs(self, name: str, **selection: Any) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=name, PaginationConfig={"PageSize": 3}, **selection
        )
        return [job for page in pages for job in page["TrainingJobSummaries"]]

    def losses(self, name: str) -> dict[str, float]:
        """Return the loss of each training job that did not fail, as DescribeTrainingJob has it."""
        described = [self.room.describe(job["TrainingJobName"]) for job in self.jobs(name)]
        return {
            each["TrainingJobName"]: each["FinalMetricDataList"][0]["Value"]
            for each in described
            if each["TrainingJobStatus"] != "Failed" and each.get("FinalMetricDataList")
        }

    def first_running(self, name: str) -> str:
        """Wait until a training job trains, and return its name."""

        def training() -> str | None:
            names = [job["TrainingJobName"] for job in self.jobs(name, StatusEquals="InProgress")]
            return next((each for each in names if self.room.processes(each)), None)

        found: str = wait_until(training, f"a training job of {name} to train", seconds=120)
        return found
