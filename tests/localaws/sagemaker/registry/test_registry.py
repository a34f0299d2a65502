"""SageMaker's Model Registry as localaws keeps it: groups, versions, approval, and models made from a package."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, IMAGE, Workbench, pack


def group(bench: Workbench, **more: Any) -> str:
    name = bench.name()
    bench.sagemaker.create_model_package_group(ModelPackageGroupName=name, **more)
    return name


def specification(bench: Workbench, **container: Any) -> dict[str, Any]:
    data = bench.upload(pack({"code/inference.py": ECHO}))
    return {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": data, **container}],
        "SupportedContentTypes": ["image/jpeg"],
        "SupportedResponseMIMETypes": ["application/json"],
    }


def package(bench: Workbench, name: str, **more: Any) -> str:
    given = {"InferenceSpecification": specification(bench), **more}
    return str(bench.sagemaker.create_model_package(ModelPackageGroupName=name, **given)["ModelPackageArn"])


def test_a_group_is_described_listed_and_deleted_when_it_is_empty(bench: Workbench) -> None:
    name = group(bench, ModelPackageGroupDescription="dogs", Tags=[{"Key": "a", "Value": "b"}])
    told = bench.sagemaker.describe_model_package_group(ModelPackageGroupName=name)
    assert (told["ModelPackageGroupDescription"], told["ModelPackageGroupStatus"]) == ("dogs", "Completed")
    arn = told["ModelPackageGroupArn"]
    assert arn.endswith(f":model-package-group/{name}")
    assert bench.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    assert bench.sagemaker.describe_model_package_group(ModelPackageGroupName=arn)["ModelPackageGroupArn"] == arn
    listed = bench.sagemaker.list_model_package_groups(NameContains=name)["ModelPackageGroupSummaryList"]
    assert [each["ModelPackageGroupName"] for each in listed] == [name]

    version = package(bench, name)
    with pytest.raises(ClientError, match="ConflictException") as refused:
        bench.sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    assert "still has Model Packages" in str(refused.value)
    bench.sagemaker.delete_model_package(ModelPackageName=version)
    bench.sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    with pytest.raises(ClientError, match="does not exist"):
        bench.sagemaker.describe_model_package_group(ModelPackageGroupName=name)


def test_a_group_that_exists_is_refused_in_the_words_that_awss_sdk_looks_for(bench: Workbench) -> None:
    name = group(bench)
    with pytest.raises(ClientError, match=r"\(ValidationException\).*Model Package Group already exists"):
        bench.sagemaker.create_model_package_group(ModelPackageGroupName=name)


def test_the_same_token_gives_the_same_version_and_a_deleted_version_is_never_used_again(bench: Workbench) -> None:
    name = group(bench)
    first = package(bench, name, ClientToken="1" * 36)
    assert package(bench, name, ClientToken="1" * 36) == first
    second = package(bench, name, ClientToken="2" * 36)
    assert [each.rpartition("/")[2] for each in (first, second)] == ["1", "2"]
    bench.sagemaker.delete_model_package(ModelPackageName=second)
    assert package(bench, name).endswith("/3")


def test_a_version_waits_for_approval_and_keeps_what_is_said_of_it(bench: Workbench) -> None:
    metadata = {"data-digest": "0" * 64, "commit": "abc"}
    arn = package(bench, group(bench), CustomerMetadataProperties=metadata, ModelPackageDescription="dogs")
    told = bench.sagemaker.describe_model_package(ModelPackageName=arn)
    assert (told["ModelApprovalStatus"], told["ModelPackageStatus"]) == ("PendingManualApproval", "Completed")
    assert told["CustomerMetadataProperties"] == metadata
    assert "ModelPackageName" not in told and told["ModelPackageVersion"] == 1

    bench.sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="better",
        CustomerMetadataProperties={"gate": "passed"},
        CustomerMetadataPropertiesToRemove=["commit"],
    )
    told = bench.sagemaker.describe_model_package(ModelPackageName=arn)
    assert (told["ModelApprovalStatus"], told["ApprovalDescription"]) == ("Approved", "better")
    assert told["CustomerMetadataProperties"] == {"data-digest": "0" * 64, "gate": "passed"}
    assert told["LastModifiedTime"] >= told["CreationTime"]


def test_packages_are_listed_by_group_approval_and_time_in_pages(bench: Workbench) -> None:
    name, other = group(bench), group(bench)
    arns = [package(bench, name) for _ in range(3)]
    package(bench, other)
    bench.sagemaker.update_model_package(ModelPackageArn=arns[1], ModelApprovalStatus="Approved")

    def listed(**wanted: Any) -> list[str]:
        found = bench.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=name, PaginationConfig={"PageSize": 2}, **wanted
        )
        return [each["ModelPackageArn"] for page in found for each in page["ModelPackageSummaryList"]]

    assert listed() == arns
    assert listed(SortOrder="Descending") == arns[::-1]
    assert listed(ModelApprovalStatus="Approved") == [arns[1]]
    assert listed(CreationTimeAfter=datetime.now(UTC) + timedelta(hours=1)) == []
    alone = bench.sagemaker.list_model_packages(NameContains=name)["ModelPackageSummaryList"]
    assert alone == [], "without a group only packages with names of their own"
    both = bench.sagemaker.list_model_packages(NameContains=name, ModelPackageType="Both")["ModelPackageSummaryList"]
    assert len(both) == 3


def test_a_batch_tells_what_is_there_and_what_is_not(bench: Workbench) -> None:
    arn = package(bench, group(bench))
    missing = f"{arn.rpartition('/')[0]}/99"
    told = bench.sagemaker.batch_describe_model_package(ModelPackageArnList=[arn, missing])
    assert told["ModelPackageSummaries"][arn]["ModelPackageVersion"] == 1
    assert told["ModelPackageSummaries"][arn]["InferenceSpecification"]["SupportedContentTypes"] == ["image/jpeg"]
    assert told["BatchDescribeModelPackageErrorMap"][missing]["ErrorCode"] == "ValidationException"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (lambda b: package(b, "no-such-group"), "does not exist"),
        (lambda b: package(b, group(b), ModelPackageName="named"), "Both ModelPackageName and ModelPackageGroupName"),
        (lambda b: b.sagemaker.create_model_package(ModelPackageDescription="x"), "Missing ARN"),
        (lambda b: package(b, group(b), Tags=[{"Key": "a", "Value": "b"}]), "versioned Model Packages"),
        (lambda b: b.sagemaker.describe_model_package(ModelPackageName="no-such-package"), "does not exist"),
        (lambda b: b.sagemaker.delete_model_package(ModelPackageName="no-such-package"), "does not exist"),
        (
            lambda b: package(b, group(b), SourceAlgorithmSpecification={"SourceAlgorithms": [{"AlgorithmName": "a"}]}),
            "SourceAlgorithmSpecification not supported by localaws",
        ),
    ],
)
def test_what_aws_refuses_or_localaws_lacks_is_refused_by_name(
    bench: Workbench, asked: Callable[[Workbench], Any], why: str
) -> None:
    with pytest.raises(ClientError, match=r"\(ValidationException\)") as refused:
        asked(bench)
    assert why in str(refused.value)


def test_a_package_with_a_name_of_its_own_exists_once(bench: Workbench) -> None:
    name, given = bench.name(), {"InferenceSpecification": specification(bench)}
    arn = bench.sagemaker.create_model_package(ModelPackageName=name, **given)["ModelPackageArn"]
    told = bench.sagemaker.describe_model_package(ModelPackageName=name)
    assert (told["ModelPackageArn"], told["ModelPackageName"]) == (arn, name)
    assert "ModelApprovalStatus" not in told
    with pytest.raises(ClientError, match="already exists"):
        bench.sagemaker.create_model_package(ModelPackageName=name, **given)


def test_an_endpoint_serves_a_model_that_is_made_from_a_package(bench: Workbench) -> None:
    """Also after the package was deleted; the request's variables are added to the package's."""
    given = {"InferenceSpecification": specification(bench, Environment={"VERSION": "1", "KEPT": "1"})}
    arn = package(bench, group(bench), **given)
    name, container = bench.name(), {"ModelPackageName": arn, "Environment": {"VERSION": "2"}}
    bench.sagemaker.create_model(ModelName=name, Containers=[container], ExecutionRoleArn=bench.role_arn)
    told = bench.sagemaker.describe_model(ModelName=name)["Containers"]
    assert told == [container]
    bench.sagemaker.delete_model_package(ModelPackageName=arn)

    endpoint = bench.endpoint(name)

    assert bench.invoke(endpoint)["version"] == "2"


def test_a_model_from_a_package_names_neither_image_nor_data(bench: Workbench) -> None:
    arn = package(bench, group(bench))
    for container, why in (
        ({"ModelPackageName": arn, "Image": IMAGE}, "Image cannot be given together with ModelPackageName"),
        ({"ModelPackageName": f"{arn}9"}, "does not exist"),
    ):
        with pytest.raises(ClientError, match=why):
            bench.sagemaker.create_model(
                ModelName=bench.name(), PrimaryContainer=container, ExecutionRoleArn=bench.role_arn
            )
