"""Endpoints live and die by their processes; what localaws cannot run is refused by name."""

import io
import tarfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.hearing import TELL, hearing
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, IMAGE, Workbench, pack
from tests.polling import wait_until

GATED = (
    TELL
    + """
import os
def model_fn(model_dir):
    tell(os.environ["EAR"], "loading")
def input_fn(data, content_type): return data
def predict_fn(data, model): return data
def output_fn(prediction, accept): return b"open", "text/plain"
"""
)


def test_two_instances_are_two_processes_and_deleting_leaves_neither_process_nor_file(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(), instances=2)

    pids = {bench.invoke(endpoint)["pid"] for _ in range(12)}
    described = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
    bench.delete(endpoint)

    assert len(pids) == 2
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (bench.localaws.home / "endpoints" / endpoint).exists()
    with pytest.raises(
        ClientError, match=f'Could not find endpoint "arn:aws:sagemaker:us-east-1:.*endpoint/{endpoint}"'
    ):
        bench.sagemaker.describe_endpoint(EndpointName=endpoint)


def test_an_endpoint_is_in_service_only_after_its_ping_passes(bench: Workbench) -> None:
    with hearing(is_open=False) as ear:
        endpoint = bench.start(bench.config({"ModelName": bench.model(GATED, environment={"EAR": str(ear.port)})}))

        wait_until(lambda: ear.lines == ["loading"])
        before = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
        with pytest.raises(ClientError) as too_early:
            bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x")
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            bench.sagemaker.delete_endpoint(EndpointName=endpoint)
        ear.gate.set()
        after = bench.settled(endpoint)

        assert (before["EndpointStatus"], before["ProductionVariants"][0]["CurrentInstanceCount"]) == ("Creating", 0)
        assert too_early.value.response["Error"]["Message"] == f"Endpoint {endpoint} of account 123456789012 not found."
        assert after["EndpointStatus"] == "InService"
        assert bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x")["Body"].read() == b"open"


def test_a_model_that_does_not_load_is_failed_with_the_tail_of_its_log(bench: Workbench) -> None:
    code = "def model_fn(model_dir):\n    raise RuntimeError('the weights are 12 bytes short')\n"
    endpoint = bench.start(bench.config({"ModelName": bench.model(code)}))

    described = bench.settled(endpoint)
    with pytest.raises(ClientError, match="with status Failed: delete it"):
        bench.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=described["EndpointConfigName"])

    assert described["EndpointStatus"] == "Failed"
    assert described["FailureReason"].startswith(
        "The primary container for production variant AllTraffic did not pass the ping health check."
    )
    assert "RuntimeError: the weights are 12 bytes short" in described["FailureReason"]
    wait_until(lambda: bench.log(endpoint), holds=lambda log: "Traceback" in "\n".join(log))


def test_missing_model_data_is_failed_with_its_address(bench: Workbench) -> None:
    endpoint = bench.start(bench.config({"ModelName": bench.model(data="s3://endpoint-models/nothing/model.tar.gz")}))

    described = bench.settled(endpoint)

    assert described["EndpointStatus"] == "Failed"
    assert 'from URL: "s3://endpoint-models/nothing/model.tar.gz"' in described["FailureReason"]


def _leaving() -> bytes:
    return pack({"code/inference.py": ECHO, "../../../../escaped.txt": "out"})


def _linked() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo("code")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    return buffer.getvalue()


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=9) as tar:
        member = tarfile.TarInfo("zeros")
        member.size = 80 * 1024 * 1024
        with Path("/dev/zero").open("rb") as zeros:
            tar.addfile(member, zeros)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (_leaving, "would be extracted to /escaped.txt, outside of /opt/ml/model"),
        (lambda: pack({"a" * 300: "w"}), "File name too long: '/opt/ml/model/aaa"),
        (_linked, "links and devices are refused"),
        (_bomb, "unpacks to more than"),
        (lambda: b"no archive at all", "ReadError"),
        (lambda: pack({"weights.bin": "w"}), "model.tar.gz has no inference script"),
    ],
    ids=["leaving", "long", "linked", "bomb", "garbage", "no-code"],
)
def test_a_hostile_or_broken_archive_is_failed_with_the_reason(bench: Workbench, archive: Any, why: str) -> None:
    endpoint = bench.start(bench.config({"ModelName": bench.model(data=bench.upload(archive()))}))

    described = bench.settled(endpoint)

    assert described["EndpointStatus"] == "Failed"
    assert why in described["FailureReason"]
    assert str(bench.localaws.home.parent) not in described["FailureReason"], "a path of this machine"
    assert not list(bench.localaws.home.rglob("escaped.txt"))


@pytest.mark.parametrize(
    ("container", "why"),
    [
        (
            {"Image": "1.dkr.ecr.us-east-1.amazonaws.com/my-own:1"},
            "Requested image 1.dkr.ecr.us-east-1.amazonaws.com/my-own:1",
        ),
        ({"Image": IMAGE, "Mode": "MultiModel"}, "Mode MultiModel not supported by localaws"),
        ({"Image": IMAGE, "ImageConfig": {"RepositoryAccessMode": "Vpc"}}, "container: ImageConfig not supported"),
        ({"Image": IMAGE, "ModelDataUrl": "https://example.com/m.tar.gz"}, "is not of the form s3://bucket/key"),
    ],
)
def test_a_container_that_cannot_run_here_is_refused_by_name(bench: Workbench, container: Any, why: str) -> None:
    with pytest.raises(ClientError) as refused:
        bench.sagemaker.create_model(
            ModelName=bench.name(), PrimaryContainer=container, ExecutionRoleArn=bench.role_arn
        )

    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert why in refused.value.response["Error"]["Message"]


def test_a_role_that_does_not_exist_and_a_name_taken_twice_are_refused(bench: Workbench) -> None:
    model, config = bench.model(), ""
    config = bench.config({"ModelName": model})
    container = {"Image": IMAGE}
    nobody = "arn:aws:iam::123456789012:role/nobody"

    with pytest.raises(ClientError, match=f"Could not assume role {nobody}"):
        bench.sagemaker.create_model(ModelName=bench.name(), PrimaryContainer=container, ExecutionRoleArn=nobody)
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        bench.sagemaker.create_model(ModelName=model, PrimaryContainer=container, ExecutionRoleArn=bench.role_arn)
    with pytest.raises(ClientError, match="Cannot create already existing endpoint configuration"):
        bench.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[_variant(model)])
    with pytest.raises(ClientError, match=r'Could not find endpoint configuration "arn:.*endpoint-config/none"'):
        bench.sagemaker.create_endpoint(EndpointName=bench.name(), EndpointConfigName="none")
    with pytest.raises(ClientError, match=r'Could not find model "arn:.*model/none"'):
        bench.sagemaker.create_endpoint_config(EndpointConfigName=bench.name(), ProductionVariants=[_variant("none")])


@pytest.mark.parametrize(
    ("parameters", "variant", "why"),
    [
        (
            {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/o"}}},
            {},
            "AsyncInferenceConfig not supported",
        ),
        ({}, {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}, "ServerlessConfig not supported"),
        ({}, {"InstanceType": "ml.m5.gigantic"}, "Value 'ml.m5.gigantic' at"),
        ({}, {"AcceleratorType": "ml.eia1.medium"}, "AcceleratorType not supported"),
        ({}, {"VariantName": "not_a_name"}, "regular expression pattern"),
    ],
)
def test_a_configuration_that_cannot_run_here_is_refused_by_name(
    bench: Workbench, parameters: dict[str, Any], variant: dict[str, Any], why: str
) -> None:
    with pytest.raises(ClientError) as refused:
        bench.sagemaker.create_endpoint_config(
            EndpointConfigName=bench.name(), ProductionVariants=[{**_variant("m"), **variant}], **parameters
        )

    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert why in refused.value.response["Error"]["Message"]


def test_descriptions_repeat_what_was_given_and_nothing_else(bench: Workbench) -> None:
    model = bench.model(environment={"MINE": "yes"})
    config = bench.config({"ModelName": model, "InitialVariantWeight": 2.0})

    container = bench.sagemaker.describe_model(ModelName=model)["PrimaryContainer"]
    described = bench.sagemaker.describe_endpoint_config(EndpointConfigName=config)

    assert (container["Image"], container["Environment"]) == (IMAGE, {"MINE": "yes"})
    assert described["ProductionVariants"] == [
        {
            "VariantName": "AllTraffic",
            "ModelName": model,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
            "InitialVariantWeight": 2.0,
        }
    ]


def test_models_are_listed_by_name_in_pages_and_deleted(bench: Workbench) -> None:
    names = sorted(bench.model() for _ in range(3))
    pages = bench.sagemaker.get_paginator("list_models").paginate(
        NameContains=bench.prefix, SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )

    listed = [row["ModelName"] for page in pages for row in page["Models"]]
    bench.sagemaker.delete_model(ModelName=names[0])

    assert set(names) <= set(listed)
    assert listed == sorted(listed)
    with pytest.raises(ClientError, match='Could not find model "arn:'):
        bench.sagemaker.describe_model(ModelName=names[0])


def _variant(model: str) -> dict[str, Any]:
    return {"VariantName": "v", "ModelName": model, "InstanceType": "ml.c7i.large", "InitialInstanceCount": 1}
