"""The SageMaker SDK's processors, unmodified: a script on two hosts, and a folder of code with its own start script."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.conftest import RunningLocalAws, client_environment
from tests.localaws.sagemaker.processing.processing_rooms import ProcessingRoom

PROCESSOR_SECONDS = 120

PROCESSORS = """
    import json, sys
    import boto3
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.processing import FrameworkProcessor, ScriptProcessor
    from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output

    bucket, role, folder, endpoint = sys.argv[1:]

    class Pinned(boto3.Session):  # the SDK gives STS an address of its own
        def client(self, *names, **options):
            return super().client(*names, **{**options, "endpoint_url": endpoint})

    opted_out = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
    session = Session(boto_session=Pinned(region_name="us-east-1"), default_bucket=bucket, sagemaker_config=opted_out)
    source = ProcessingS3Input(
        s3_uri=f"s3://{bucket}/in/",
        local_path="/opt/ml/processing/input/data",
        s3_data_type="S3Prefix",
        s3_input_mode="File",
        s3_data_distribution_type="ShardedByS3Key",
    )

    def start(processor, prefix, **code):
        target = ProcessingS3Output(
            s3_uri=f"s3://{bucket}/{prefix}", local_path="/opt/ml/processing/output", s3_upload_mode="EndOfJob"
        )
        processor.run(
            **code,
            inputs=[ProcessingInput(input_name="data", s3_input=source)],
            outputs=[ProcessingOutput(output_name="out", s3_output=target)],
            arguments=["--rate", "0.1"],
            wait=False,
            logs=False,
        )
        print(json.dumps({"name": processor.latest_job.processing_job_name}))

    settings = {
        "image_uri": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312",
        "command": ["python3"],
        "role": role,
        "instance_type": "ml.m5.large",
        "instance_count": 2,
        "env": {"MINE": "yes"},
        "sagemaker_session": session,
    }
    script, framework = ScriptProcessor(**settings), FrameworkProcessor(**settings)
    start(script, "script", code=f"{folder}/process.py")
    start(framework, "framework", code="process.py", source_dir=folder)
    script.latest_job.wait(poll=1)
    framework.latest_job.wait(poll=1)
"""

SCRIPT = """
    import json, os, pathlib, sys
    host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
    files = sorted(os.listdir("/opt/ml/processing/input/data"))
    pathlib.Path("/opt/ml/processing/output", host).write_text(json.dumps([sys.argv[1:], os.environ["MINE"], files]))
"""


def test_processors_run_a_script_on_two_hosts(localaws: RunningLocalAws, room: ProcessingRoom, tmp_path: Path) -> None:
    for number in range(3):
        room.account.put(f"in/{number}")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "process.py").write_text(textwrap.dedent(SCRIPT))

    arguments = [room.account.bucket, room.account.role, str(tmp_path / "code"), localaws.url]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROCESSORS), *arguments],
        env={**client_environment(localaws.url), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PROCESSOR_SECONDS,
    )

    names = [json.loads(line)["name"] for line in done.stdout.splitlines() if line.startswith('{"name": ')]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [room.describe(name)["ProcessingJobStatus"] for name in names] == ["Completed"] * 2, room.log(names[-1])
    for kind in ("script", "framework"):
        assert json.loads(room.account.get(f"{kind}/algo-1")) == [["--rate", "0.1"], "yes", ["0", "2"]]
        assert json.loads(room.account.get(f"{kind}/algo-2")) == [["--rate", "0.1"], "yes", ["1"]]
