"""The SageMaker SDK's HyperparameterTuner, unmodified, in a process of its own."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tests.conftest import client_environment
from tests.localaws.sagemaker.tuning.tuning_rooms import BOWL, TuningRoom

TUNER_SECONDS = 400

TUNER = """
    import json, sys
    import boto3
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
    from sagemaker.core.shapes import OutputDataConfig
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, SourceCode
    from sagemaker.train.tuner import HyperparameterTuner

    bucket, role, folder, endpoint = sys.argv[1:]

    class Pinned(boto3.Session):  # the SDK gives STS an address of its own
        def client(self, *names, **options):
            return super().client(*names, **{**options, "endpoint_url": endpoint})

    opted_out = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
    trainer = ModelTrainer(
        training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312",
        source_code=SourceCode(source_dir=folder, entry_script="train.py"),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        role=role,
        hyperparameters={"width": 5, "note": "a 'b' \\"c\\""},
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/out"),
        sagemaker_session=Session(
            boto_session=Pinned(region_name="us-east-1"), default_bucket=bucket, sagemaker_config=opted_out
        ),
    )
    tuner = HyperparameterTuner(
        trainer,
        "loss",
        {"rate": ContinuousParameter(0.001, 1.0, "Logarithmic"), "kind": CategoricalParameter(["a b", "c"])},
        metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        objective_type="Minimize",
        max_jobs=3,
        max_parallel_jobs=2,
        random_seed=1,
    )
    tuner.tune(wait=False)
    name = tuner.latest_tuning_job.hyper_parameter_tuning_job_name
    tuner.latest_tuning_job.wait(poll=1)
    table = tuner.analytics().dataframe()
    print(json.dumps({"name": name, "best": tuner.best_training_job(), "rows": len(table)}))
"""


def test_the_sdks_tuner_tunes_reports_its_best_job_and_its_table(tuning: TuningRoom, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    more = 'parser.add_argument("--note")\n    parser.add_argument("--kind")\n    options = parser.parse_args()'
    script = BOWL.replace("options = parser.parse_args()", more)
    (code / "train.py").write_text(textwrap.dedent(script) + "print([options.note, options.kind])\n")

    answer = tune_with_the_sdk(tuning, code)

    done = tuning.describe(answer["name"])
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    losses = tuning.losses(answer["name"])
    assert (len(losses), answer["rows"]) == (3, 3)
    assert answer["best"] == min(losses, key=losses.__getitem__)
    kind = done["BestTrainingJob"]["TunedHyperParameters"]["kind"]
    assert tuning.room.log(answer["best"])[-1] == str(["a 'b' \"c\"", kind])


def tune_with_the_sdk(tuning: TuningRoom, code: Path) -> dict[str, Any]:
    room = tuning.room
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    room.client("iam").put_role_policy(RoleName=room.role.rpartition("/")[2], PolicyName="all", PolicyDocument=policy)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TUNER), room.bucket, room.role, str(code), room.url],
        env={**client_environment(room.url), "HOME": str(code.parent)},
        capture_output=True,
        text=True,
        timeout=TUNER_SECONDS,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"name": ')]
    assert lines, done.stdout[-4000:] + done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer
