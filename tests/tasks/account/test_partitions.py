"""Every ARN, host and image is of the partition and region in use, and never by habit of us-east-1's."""

import ast
import asyncio
import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from flows.deploy import deploy
from flows.pipeline import pipeline
from flows.train_sagemaker import train_sagemaker
from tasks.account.container_images import INFERENCE, TRAINING, Release, inference_image, require_images
from tasks.account.role_policies import endpoint_role, function_role, instance_role, training_role
from tasks.notebook.role import notebook_role
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, SettingsRefused
from tasks.run.partitions import dns_suffix
from tasks.run.records import DatasetRef
from tasks.run.settings import Settings
from tasks.scaling.prices import list_prices
from tests.counting_proxy import Calls, Fault
from tests.test_architecture import ROOT, python_files

ANSWER = b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws-cn:iam::123456789012:user/operator</Arn><UserId>AIDA</UserId><Account>123456789012</Account>
</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""
IN_CHINA = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/kennel-serving:1"
DATA = DatasetRef("b", "datasets/d", "d", "dogs", ("x", "y"), {"train": {"x": 1, "y": 1}}, 10, 0, "sample")


@pytest.fixture
def in_china(calls: Calls, tmp_path: Path) -> Aws:
    calls.faults.append(Fault("GetCallerIdentity", instead=(200, ANSWER)))
    return Aws(Settings(endpoint_url=calls.url, runs=tmp_path, region="cn-north-1"))


def test_arns_are_of_the_partition_that_sts_names(in_china: Aws) -> None:
    assert in_china.arn("iam", "role/r") == "arn:aws-cn:iam::123456789012:role/r"
    assert in_china.arn("s3", "b/k") == "arn:aws-cn:s3:::b/k"
    assert in_china.arn("sagemaker", "endpoint/e") == "arn:aws-cn:sagemaker:cn-north-1:123456789012:endpoint/e"


def test_no_policy_of_a_run_names_another_partition(in_china: Aws) -> None:
    roles = (
        training_role(in_china, "r", DATA, None, keeps_checkpoints=True),
        instance_role(in_china, "r", DATA, None, keeps_checkpoints=True),
        endpoint_role(in_china, "r", ["s3://b/k"], "/aws/g", image=inference_image(in_china.settings)),
        endpoint_role(in_china, "r", ["s3://b/k"], "/aws/g", image=IN_CHINA),
        function_role(in_china, "r", in_china.arn("sagemaker", "endpoint/e"), "/aws/g"),
        notebook_role(in_china, "r", DATA),
    )
    for role in roles:
        assert "arn:aws-cn:" in json.dumps(role.policy)
        assert "arn:aws:" not in json.dumps([role.policy, role.trust])


def test_the_endpoint_may_pull_the_image_that_it_serves_with(in_china: Aws) -> None:
    policy = endpoint_role(in_china, "r", ["s3://b/k"], "/aws/g", image=IN_CHINA).policy
    (pull,) = (each for each in policy["Statement"] if each["Sid"] == "PullImage")
    assert pull["Resource"] == ["arn:aws-cn:ecr:cn-north-1:123456789012:repository/kennel-serving"]


def test_no_text_of_the_product_names_a_partition_by_habit() -> None:
    """Only the audit's documentation and patterns may write `arn:aws:`; a program's text takes it from STS."""
    rooms = ("flows", "tasks", "loadtest", "kennel", "training", "lambda", "localaws")
    found = {
        f"{file.relative_to(ROOT)}: {text.value}"
        for room in rooms
        for file in python_files(room)
        if "arn:aws:" in (source := file.read_text())
        for text in _texts(ast.parse(source))
        if "arn:aws:" in text.value
    }
    assert found == set()


def _texts(tree: ast.Module) -> list[Any]:
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node for node in constants if id(node) not in documentation]


@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-isob-east-1"])
def test_hosts_are_those_that_botocore_calls(region: str) -> None:
    session = botocore.session.get_session()
    made = session.create_client("sagemaker", region, aws_access_key_id="k", aws_secret_access_key="s")
    assert made.meta.endpoint_url.endswith(f"{region}.{dns_suffix(region)}")
    assert Settings(region=region).region == region


@pytest.mark.parametrize(
    ("release", "framework", "scope"), [(TRAINING, "pytorch-amzn2023", "training"), (INFERENCE, "pytorch", "inference")]
)
def test_image_uris_are_those_that_the_sdk_gives(release: Release, framework: str, scope: str) -> None:
    from sagemaker.core import image_uris

    for region in ("us-east-1", "me-south-1", "cn-north-1", "us-gov-west-1"):
        for instance_type, has_gpu in (("ml.m5.large", False), ("ml.g4dn.xlarge", True)):
            wanted = image_uris.retrieve(
                framework, region, release.version, instance_type=instance_type, image_scope=scope
            )
            assert release.uri(region, has_gpu=has_gpu) == wanted


def test_a_region_without_the_images_is_refused_with_those_that_have_them() -> None:
    with pytest.raises(SettingsRefused, match=r"(?s)in region sa-west-1.*us-west-2"):
        require_images(Settings(region="sa-west-1"))


@pytest.mark.parametrize("flow", [pipeline, train_sagemaker, deploy])
def test_a_flow_is_refused_there_before_it_makes_or_uploads_anything(
    flow: Any, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"AWS_ENDPOINT_URL": calls.url, "AWS_REGION": "sa-west-1", "KENNEL_RUNS": str(tmp_path / "runs")}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsRefused, match="in region sa-west-1"):
        asyncio.run(flow.fn(run_id="refused"))
    assert calls.seen == [] and not (tmp_path / "runs").exists()


def test_an_image_of_ones_own_needs_none_of_awss_for_serving() -> None:
    settings = Settings(region="cn-north-1", serving_image=IN_CHINA)
    require_images(settings)
    assert inference_image(settings) == IN_CHINA
    with pytest.raises(KennelError, match="SERVING_IMAGE"):
        Settings.load(serving_image="python:3.12")


def test_prices_of_another_region_are_unknown_and_say_so() -> None:
    prices = list_prices("ml.m5.large", "eu-west-1")
    costs = (prices.instances(1), prices.provisioned(1, 256), prices.invocations(1, 0.1, 256, spilled=1.0))
    assert costs == (None, None, None)
    assert prices.source == "unknown in eu-west-1: the bundled list prices are us-east-1's"
