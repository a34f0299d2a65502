"""The Model Registry's operations on the wire, added to moto's SageMaker response class or in the place of its own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.responses import SageMakerResponse

from localaws.errors import AwsError
from localaws.paging import page_of
from localaws.sagemaker.endpoints.validation import check_name, refuse_unsupported
from localaws.sagemaker.jobs.operations import is_within
from localaws.sagemaker.registry.records import ModelPackage

PAGE_SIZE = 10
MOST_AT_ONCE = 100
GROUP_PARAMETERS = frozenset({"ModelPackageGroupName", "ModelPackageGroupDescription", "Tags"})
PACKAGE_PARAMETERS = frozenset(
    {
        *("ModelPackageName", "ModelPackageGroupName", "ModelPackageDescription", "InferenceSpecification"),
        *("ModelApprovalStatus", "MetadataProperties", "ModelMetrics", "ClientToken", "CustomerMetadataProperties"),
        *("DriftCheckBaselines", "Domain", "Task", "SamplePayloadUrl", "SkipModelValidation", "SourceUri", "Tags"),
    }
)
CHANGES = frozenset(
    {
        *("ModelPackageArn", "ModelApprovalStatus", "ApprovalDescription"),
        *("CustomerMetadataProperties", "CustomerMetadataPropertiesToRemove", "ClientToken"),
    }
)


def create_model_package_group(response: Any) -> ActionResult:
    """CreateModelPackageGroup."""
    given = response._get_params()
    check_name(given.get("ModelPackageGroupName"), "modelPackageGroupName")
    refuse_unsupported(given, GROUP_PARAMETERS, "CreateModelPackageGroup")
    return ActionResult({"ModelPackageGroupArn": response.sagemaker_backend.create_group(given).arn})


def describe_model_package_group(response: Any) -> ActionResult:
    """DescribeModelPackageGroup."""
    group = response.sagemaker_backend.find_group(response._get_params()["ModelPackageGroupName"])
    return ActionResult(group.described())


def list_model_package_groups(response: Any) -> ActionResult:
    """ListModelPackageGroups: filters, order and pages."""
    wanted = response._get_params()
    elsewhere = wanted.get("CrossAccountFilterOption") == "CrossAccount"
    refuse_unsupported({"CrossAccountFilterOption": elsewhere}, frozenset(), "ListModelPackageGroups")
    groups = _listed(response.sagemaker_backend.model_package_groups.values(), wanted)
    return _page(groups, wanted, "ModelPackageGroupSummaryList")


def delete_model_package_group(response: Any) -> EmptyResult:
    """DeleteModelPackageGroup, which moto lacks."""
    response.sagemaker_backend.delete_group(response._get_params()["ModelPackageGroupName"])
    return EmptyResult()


def create_model_package(response: Any) -> ActionResult:
    """CreateModelPackage."""
    given = response._get_params()
    refuse_unsupported(given, PACKAGE_PARAMETERS, "CreateModelPackage")
    return ActionResult({"ModelPackageArn": response.sagemaker_backend.create_package(given).arn})


def describe_model_package(response: Any) -> ActionResult:
    """DescribeModelPackage."""
    package = response.sagemaker_backend.find_package(response._get_params()["ModelPackageName"])
    return ActionResult(package.described())


def batch_describe_model_package(response: Any) -> ActionResult:
    """BatchDescribeModelPackage, which moto lacks: what is not there is an error of its own."""
    summaries, errors = {}, {}
    for arn in response._get_params()["ModelPackageArnList"]:
        try:
            summaries[arn] = response.sagemaker_backend.find_package(arn).batch_summary()
        except AwsError as error:
            errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
    return ActionResult({"ModelPackageSummaries": summaries, "BatchDescribeModelPackageErrorMap": errors})


def list_model_packages(response: Any) -> ActionResult:
    """ListModelPackages: without a group only packages with names of their own, as AWS lists them."""
    wanted, backend = response._get_params(), response.sagemaker_backend
    group = wanted.get("ModelPackageGroupName")
    kind = "Versioned" if group else wanted.get("ModelPackageType") or "Unversioned"
    name = backend.find_group(group).name if group else None
    status = wanted.get("ModelApprovalStatus")
    packages = [
        package
        for package in backend.model_packages.values()
        if _is_of(package, kind) and name in {None, package.group} and status in {None, package.approval_status}
    ]
    return _page(_listed(packages, wanted), wanted, "ModelPackageSummaryList")


def update_model_package(response: Any) -> ActionResult:
    """UpdateModelPackage."""
    given = response._get_params()
    refuse_unsupported(given, CHANGES, "UpdateModelPackage")
    package = response.sagemaker_backend.find_package(given["ModelPackageArn"])
    package.change(given)
    return ActionResult({"ModelPackageArn": package.arn})


def delete_model_package(response: Any) -> EmptyResult:
    """DeleteModelPackage, which moto lacks."""
    response.sagemaker_backend.delete_package(response._get_params()["ModelPackageName"])
    return EmptyResult()


OPERATIONS = (
    create_model_package_group,
    describe_model_package_group,
    list_model_package_groups,
    delete_model_package_group,
    create_model_package,
    describe_model_package,
    batch_describe_model_package,
    list_model_packages,
    update_model_package,
    delete_model_package,
)


def install_operations() -> None:
    """Have moto dispatch to these."""
    for operation in OPERATIONS:
        setattr(SageMakerResponse, operation.__name__, operation)


def _is_of(package: ModelPackage, kind: str) -> bool:
    return kind == "Both" or (package.group is None) == (kind == "Unversioned")


def _listed(items: Iterable[Any], wanted: Mapping[str, Any]) -> list[Any]:
    """Return the items that the filters of a list leave, in its order: by default the oldest first."""
    contained = (wanted.get("NameContains") or "").lower()
    found = [
        item
        for item in items
        if contained in item.name.lower() and is_within(wanted, "CreationTime", item.creation_time)
    ]
    by_name = wanted.get("SortBy") == "Name"
    found.sort(key=lambda item: (item.name, item.creation_time) if by_name else item.creation_time)
    return found[::-1] if wanted.get("SortOrder") == "Descending" else found


def _page(items: Sequence[Any], wanted: Mapping[str, Any], member: str) -> ActionResult:
    page, token = page_of(items, wanted.get("NextToken"), wanted.get("MaxResults") or PAGE_SIZE, service="sagemaker")
    return ActionResult({member: [item.summary() for item in page], "NextToken": token})
