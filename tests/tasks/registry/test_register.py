"""A trained model is registered once, whatever answers are lost; what is somebody else's is refused."""

import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.registry.groups import ChallengerOf, group_name
from tasks.registry.packages import CODE, DATA, MODEL, ModelVersion, list_packages
from tasks.registry.register import package_name, register_model
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, TrainedModel
from tests.counting_proxy import Calls, Fault
from tests.tasks.registry.trained_runs import DIGEST, account, model_at, trained_run

VALUE = re.compile(r"[\w\s.:/=+\-@]{1,256}")
"""AWS's pattern of CustomerMetadataValue, of which Python's `\\w` has letters, digits and the underscore."""


@pytest.fixture
def aws(calls: Calls, tmp_path: Path) -> Aws:
    return account(calls.url, tmp_path)


@pytest.fixture
def run(aws: Aws) -> Run:
    """A run that has trained on a dataset of a name of its own."""
    return trained_run(aws, f"reg-{secrets.token_hex(4)}", f"dogs {secrets.token_hex(4)}")


def group_of(run: Run) -> str:
    return group_name(run.need(DatasetRef).name)


def describe(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = run.aws.client("sagemaker").describe_model_package(
        ModelPackageName=run.need(ModelVersion).arn
    )
    return found


def test_the_same_model_is_registered_once_and_found_again_without_a_change(run: Run, calls: Calls) -> None:
    first = register_model(run)
    calls.seen.clear()
    assert register_model(run) == first == run.need(ModelVersion)
    assert calls.mutating() == []
    assert (first.group, first.version, first.run_id) == (group_of(run), 1, run.id)
    assert first.group.startswith("kennel-dogs-") and first.label == f"{first.group} version 1"


def test_another_model_of_the_run_is_another_version(run: Run) -> None:
    first = register_model(run)
    run.keep(replace(run.need(TrainedModel), model_uri=first.model_uri.replace("job-", "later-")))
    second = register_model(run)
    assert (second.version, second.group) == (2, first.group)
    assert second.name != first.name


@pytest.mark.parametrize("operation", ["CreateModelPackageGroup", "CreateModelPackage"])
def test_a_lost_answer_makes_nothing_twice(run: Run, calls: Calls, operation: str) -> None:
    calls.faults.append(Fault(f"SageMaker.{operation}"))
    version = register_model(run)
    assert calls.faults[0].times == 0
    assert register_model(run) == version and version.version == 1
    assert [each.arn for each in list_packages(run.aws, version.group)] == [version.arn]
    live = {(row.kind, row.name, row.state) for row in run.ledger.live() if "model-package" in row.kind}
    assert {(kind, name) for kind, name, _ in live} == {
        ("model-package", version.name),
        ("model-package-group", version.group),
    }
    assert {state for *_, state in live} <= {"created", "adopted"}


def test_a_version_that_was_deleted_is_registered_anew(run: Run) -> None:
    first = register_model(run)
    run.aws.client("sagemaker").delete_model_package(ModelPackageName=first.arn)
    assert register_model(run).version == 2


def test_a_group_that_is_not_kennels_is_refused_and_nothing_is_added_to_it(run: Run) -> None:
    client = run.aws.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName=group_of(run))
    with pytest.raises(OwnershipRefused, match=r"model-package-group .*: it exists already"):
        register_model(run)
    assert client.list_model_packages(ModelPackageGroupName=group_of(run))["ModelPackageSummaryList"] == []


def test_a_package_of_that_description_whose_metadata_names_another_run_is_refused(run: Run) -> None:
    client = run.aws.client("sagemaker")
    group, _, description = package_name(run, run.need(DatasetRef), run.need(TrainedModel)).partition("/")
    client.create_model_package_group(ModelPackageGroupName=group, Tags=naming.tag_list("somebody"))
    client.create_model_package(
        ModelPackageGroupName=group,
        ModelPackageDescription=description,
        CustomerMetadataProperties=naming.tags("somebody"),
        InferenceSpecification=specification(run.need(TrainedModel).model_uri),
    )
    with pytest.raises(OwnershipRefused, match=f"its metadata does not name run {run.id}"):
        register_model(run)


def specification(uri: str) -> dict[str, Any]:
    return {
        "Containers": [{"Image": "image", "ModelDataUrl": uri}],
        "SupportedContentTypes": ["image/jpeg"],
        "SupportedResponseMIMETypes": ["application/json"],
    }


def test_the_metadata_keeps_awss_limits_and_says_what_the_model_was_made_of(run: Run) -> None:
    bucket = run.need(DatasetRef).bucket
    run.keep(model_at(f"s3://{bucket}/runs/{run.id}/{'x' * 300}/model.tar.gz", run.id))
    register_model(run)
    metadata = describe(run)["CustomerMetadataProperties"]
    assert all(VALUE.fullmatch(value) and len(name) <= 128 for name, value in metadata.items()), metadata
    assert len(metadata[MODEL]) == 256 and len(metadata[CODE]) == 64
    assert (metadata[DATA], metadata[naming.RUN_TAG]) == (DIGEST, run.id)
    assert len(metadata) <= 50


def test_a_version_waits_for_approval_with_its_quality_where_sagemakers_pages_look(run: Run) -> None:
    version = register_model(run)
    told = describe(run)
    assert told["ModelApprovalStatus"] == "PendingManualApproval"
    uri = told["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert uri.startswith(f"s3://{run.aws.bucket}/runs/{run.id}/registry/")
    assert told["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == version.model_uri


def test_a_challenger_is_registered_beside_the_champion_whatever_its_datasets_name(run: Run) -> None:
    champion = register_model(run)
    challenger = trained_run(run.aws, f"{run.id}-c", "other")
    challenger.keep(ChallengerOf(run.id, champion.group))
    version = register_model(challenger)
    assert (version.group, version.version) == (champion.group, 2)
