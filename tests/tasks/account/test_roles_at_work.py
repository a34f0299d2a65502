"""The roles of a run as services use them: what each fails at without a part of its policy, and what spot jobs need.

The other parts of the policies are held against a whole run in tests/kennel/commands/test_train_ec2.py.
"""

import base64
import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.account.role_policies import RoleSpec, endpoint_role, function_role, training_role
from tasks.account.roles import ensure_role
from tasks.model.code import build_lambda_zip
from tasks.notebook.role import notebook_role
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import DatasetRef
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.kennel.decided_again import asked_by
from tests.localaws.callers import assume, make_role, make_user, refusal
from tests.localaws.functions.functions_kit import Functions
from tests.localaws.sagemaker.endpoints.endpoint_models import IMAGE, Workbench
from tests.localaws.sagemaker.training.training_rooms import Room

ENDPOINT_ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/nobody-has-it"
MODEL = "open('/opt/ml/model/m', 'w').write('m')"
CHECKPOINT = "open('/opt/ml/checkpoints/c', 'w').write('c')"


@pytest.fixture(scope="module")
def bucket(localaws: RunningLocalAws) -> str:
    name = f"at-work-{uuid.uuid4().hex[:12]}"
    localaws.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def run(localaws: RunningLocalAws, bucket: str, tmp_path: Path) -> Iterator[Run]:
    yield Run(
        Aws(Settings(endpoint_url=localaws.url, runs=tmp_path, region="us-east-1", bucket=bucket)),
        f"work-{uuid.uuid4().hex[:8]}",
    )


@pytest.fixture
def data(localaws: RunningLocalAws, bucket: str) -> DatasetRef:
    localaws.client("s3").put_object(Bucket=bucket, Key="datasets/d/train/1", Body=b"x")
    return DatasetRef(bucket, "datasets/d", "d", "d", ("x",), {"train": {"x": 1}}, 10, 0, "sample")


def without(spec: RoleSpec, sid: str) -> RoleSpec:
    """Return the role without one statement."""
    kept = tuple(each for each in spec.statements if each["Sid"] != sid)
    assert len(kept) == len(spec.statements) - 1
    return dataclasses.replace(spec, statements=kept)


def start(localaws: RunningLocalAws, run: Run, role: RoleSpec, script: str, **more: Any) -> tuple[Room, dict[str, Any]]:
    """Return what a training job of the run is asked for that runs a script with a role."""
    room = Room(localaws.client, localaws.url, localaws.home, run.aws.bucket, ensure_role(run, role))
    room.put(f"runs/{run.id}/code/train.py", script)
    place = f"s3://{run.aws.bucket}/runs/{run.id}/output"
    own = {
        "TrainingJobName": f"kennel-{run.id}-train-{uuid.uuid4().hex[:8]}",
        "OutputDataConfig": {"S3OutputPath": place},
    }
    channels = [room.channel("code", f"runs/{run.id}/code/"), room.channel("train", "datasets/d/train")]
    return room, room.request(script, **{**own, "InputDataConfig": channels, **more})


def ended(room: Room, request: dict[str, Any]) -> dict[str, Any]:
    room.client("sagemaker").create_training_job(**request)
    return room.end_of(request["TrainingJobName"])


@pytest.mark.parametrize(
    ("sid", "why"), [("ReadInputs", "is not authorized to perform: s3:GetObject"), ("WriteOutputs", "s3:PutObject")]
)
def test_a_job_whose_role_lacks_a_statement_fails_and_names_it(
    localaws: RunningLocalAws, run: Run, data: DatasetRef, sid: str, why: str
) -> None:
    done = ended(*start(localaws, run, without(training_role(run.aws, run.id, data, None), sid), MODEL))
    assert (done["TrainingJobStatus"], why in done["FailureReason"]) == ("Failed", True), done


def test_a_job_whose_role_may_not_use_the_key_of_its_inputs_fails_and_names_it(
    localaws: RunningLocalAws, run: Run, data: DatasetRef
) -> None:
    key = localaws.client("kms").create_key()["KeyMetadata"]["Arn"]
    sealed = {"Bucket": data.bucket, "Key": "datasets/d/train/1", "ServerSideEncryption": "aws:kms"}
    localaws.client("s3").put_object(**sealed, Body=b"x", SSEKMSKeyId=key)
    place = f"s3://{data.bucket}/runs/{run.id}/output"
    output = {"OutputDataConfig": {"S3OutputPath": place, "KmsKeyId": key}}
    role = training_role(run.aws, run.id, data, None, key_arn=key)
    done = ended(*start(localaws, run, without(role, "UseKey"), MODEL, **output))
    assert done["TrainingJobStatus"] == "Failed"
    assert f"is not authorized to perform: kms:Decrypt on resource: {key}" in done["FailureReason"]
    assert ended(*start(localaws, run, role, MODEL, **output))["TrainingJobStatus"] == "Completed"


def test_a_job_whose_role_may_not_list_its_inputs_is_refused(
    localaws: RunningLocalAws, run: Run, data: DatasetRef
) -> None:
    role = without(training_role(run.aws, run.id, data, None), "ListInputs")
    room, request = start(localaws, run, role, MODEL)
    _, text = refusal(room.client("sagemaker").create_training_job, **request)
    assert 'has "s3:ListBucket" permissions' in text


def test_what_a_spot_job_is_granted_for_its_checkpoints_is_needed(
    localaws: RunningLocalAws, run: Run, data: DatasetRef
) -> None:
    """The second job goes on from the first one's checkpoint."""
    role = training_role(run.aws, run.id, data, None, keeps_checkpoints=True)
    place = {"S3Uri": f"s3://{run.aws.bucket}/runs/{run.id}/checkpoints/", "LocalPath": "/opt/ml/checkpoints"}
    for _ in range(2):
        done = ended(*start(localaws, run, role, CHECKPOINT, CheckpointConfig=place))
        assert done["TrainingJobStatus"] == "Completed", done
    asked = asked_by(localaws, role.name)
    plain = training_role(run.aws, run.id, data, None).policy
    denied = {text.split(" on ")[0] for text in asked.denied(plain) if "/checkpoints/" in text or "ListBucket" in text}
    assert denied == {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}


def test_an_endpoint_whose_role_may_not_read_its_model_fails_and_names_it(
    localaws: RunningLocalAws, run: Run, bench: Workbench
) -> None:
    model = bench.model()
    url = bench.sagemaker.describe_model(ModelName=model)["PrimaryContainer"]["ModelDataUrl"]
    spec = endpoint_role(run.aws, run.id, [url], "/aws/sagemaker/Endpoints/e", image=IMAGE)
    own = dataclasses.replace(bench, role_arn=ensure_role(run, without(spec, "ReadModel")), prefix=f"{bench.prefix}x")
    failed = own.settled(own.start(own.config({"ModelName": own.model(data=url)})))
    assert failed["EndpointStatus"] == "Failed"
    assert "the role passed to CreateModel has permissions" in failed["FailureReason"]
    assert "is not authorized to perform: s3:GetObject" in failed["FailureReason"]


def test_a_function_whose_role_may_not_invoke_the_endpoint_says_so(
    localaws: RunningLocalAws, run: Run, tmp_path: Path
) -> None:
    spec = function_role(run.aws, run.id, ENDPOINT_ARN, "/aws/lambda/f")
    build_lambda_zip(tmp_path / "classify.zip")
    content = (tmp_path / "classify.zip").read_bytes()
    functions = Functions(localaws.client("lambda"), ensure_role(run, without(spec, "InvokeThisEndpoint")))
    name = functions.make(
        Code={"ZipFile": content}, Environment={"Variables": {"ENDPOINT_NAME": "nobody-has-it", "ALLOWED_HOSTS": ""}}
    )
    photo = base64.b64encode(b"\xff\xd8\xff" + bytes(99)).decode()
    error = json.loads(functions.invoke(name, {"image": photo})["Payload"]["body"])["error"]
    assert error["code"] == "Misconfigured", error


def test_a_notebook_needs_what_its_role_is_granted_but_the_logs_which_localaws_does_not_write(
    localaws: RunningLocalAws, run: Run, data: DatasetRef
) -> None:
    """localaws runs no Jupyter: the test does with the role's policy what a person and the idle check do."""
    spec = notebook_role(run.aws, run.id, data)
    person = make_user(localaws, {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
    arn = make_role(localaws, {"AWS": person.arn}, *spec.statements)
    notebook, bucket = assume(person, arn), run.aws.bucket
    localaws.client("s3").put_object(Bucket=bucket, Key=f"runs/{run.id}/x", Body=b"x")
    for prefix, key in ((f"runs/{run.id}/", "x"), ("datasets/d/", "train/1")):
        notebook.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        notebook.client("s3").get_object(Bucket=bucket, Key=f"{prefix}{key}")
    stop = notebook.client("sagemaker").stop_notebook_instance
    assert refusal(stop, NotebookInstanceName=f"kennel-{run.id}-notebook")[0] == "ValidationException", "there is none"
    needed = asked_by(localaws, arn.rpartition("/")[2], "own").needed_for()
    assert {part.split()[0] for part, denied in needed.items() if not denied} == {"LogGroup", "WriteLogs"}
