"""A tuning job of kennel's own training script, as `SM_CHANNEL_…` and arguments reach it in AWS's image."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.localaws.sagemaker.training.training_rooms import names_in
from tests.localaws.sagemaker.tuning.tuning_rooms import RATE, TuningRoom
from tests.training.datasets import SMALL, write_dataset
from training.imagenet import export_packaged

CHANNELS = ("train", "validation", "test", "manifest")
LOSS = {"Name": "loss", "Regex": r"(?:^|\s)validation_loss=([-+.\deE]+)"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_our_training_script_is_tuned_and_the_best_model_has_the_values_that_were_found(
    tuning: TuningRoom, tmp_path: Path
) -> None:
    room = tuning.room
    root = write_dataset(tmp_path / "data", train=4, validation=2, test=3).root
    (root / "weights").mkdir()
    export_packaged(SMALL.backbone, root / "weights" / "backbone.safetensors")
    for file in root.rglob("*.*"):
        room.put(f"own/{file.relative_to(root)}", file.read_bytes())
    room.put("own/sourcedir.tar.gz", training_code())
    static = {
        "sagemaker_program": json.dumps("training/train.py"),
        "sagemaker_submit_directory": json.dumps(f"s3://{room.bucket}/own/sourcedir.tar.gz"),
        "backbone": SMALL.backbone,
        "epochs": "2",
        "views": "2",
        "batch-size": "8",
        "threads": "1",
    }
    definition = tuning.request("", static=static)["TrainingJobDefinition"]
    definition["InputDataConfig"] = [room.channel(each, f"own/{each}/") for each in (*CHANNELS, "weights")]
    definition["AlgorithmSpecification"]["MetricDefinitions"] = [LOSS]
    definition["StoppingCondition"] = {"MaxRuntimeInSeconds": 500}
    rate = {**RATE, "Name": "learning-rate", "MinValue": "0.0001", "MaxValue": "0.01", "ScalingType": "Logarithmic"}
    limits = {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1}

    name = tuning.start(
        "", definition=definition, ResourceLimits=limits, ParameterRanges={"ContinuousParameterRanges": [rate]}
    )
    done = tuning.end_of(name, seconds=500)

    assert done["TrainingJobStatusCounters"]["Completed"] == 2, tuning.jobs(name)
    losses = tuning.losses(name)
    best = done["BestTrainingJob"]
    assert best["TrainingJobName"] == min(losses, key=losses.__getitem__)
    place = room.describe(best["TrainingJobName"])["ModelArtifacts"]["S3ModelArtifacts"]
    meta = json.loads(names_in(room.get(place.removeprefix(f"s3://{room.bucket}/")))["meta.json"])
    found = meta["config"]["learning_rate"]
    assert found == pytest.approx(float(best["TunedHyperParameters"]["learning-rate"]))


def training_code() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for file in (ROOT / "training").rglob("*.py"):
            tar.add(file, arcname=str(file.relative_to(ROOT)))
    return buffer.getvalue()
