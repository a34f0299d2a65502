"""The list says of each version what it is: what serves, what waits, what was approved, and why one was refused."""

import secrets
from pathlib import Path

import pytest

from tasks.registry.listing import ListedVersion, list_versions
from tasks.registry.packages import APPROVED, LONGEST_REASON, REJECTED, ModelVersion, describe_package, settle
from tasks.registry.register import register_model
from tasks.run.aws import Aws
from tests.counting_proxy import Calls
from tests.kennel.interface import differences
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench
from tests.tasks.registry.test_register import specification
from tests.tasks.registry.trained_runs import account, trained_run


@pytest.fixture
def aws(calls: Calls, tmp_path: Path) -> Aws:
    return account(calls.url, tmp_path)


@pytest.fixture
def versions(aws: Aws) -> list[ModelVersion]:
    """Five versions of a group, each of a run of its own."""
    name = f"cats {secrets.token_hex(4)}"
    return [register_model(trained_run(aws, f"list-{secrets.token_hex(4)}", name)) for _ in range(5)]


@pytest.fixture
def version(aws: Aws) -> ModelVersion:
    """One version of a group of its own."""
    return register_model(trained_run(aws, f"list-{secrets.token_hex(4)}", f"cats {secrets.token_hex(4)}"))


def serve(bench: Workbench, container: dict[str, str]) -> str:
    name = bench.name()
    bench.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=bench.role_arn)
    return bench.endpoint(name)


def listed(aws: Aws, group: str | None) -> dict[int, ListedVersion]:
    return {each.version: each for each in list_versions(aws, group)}


def test_each_version_is_champion_challenger_approved_or_rejected_with_the_reason(
    aws: Aws, bench: Workbench, versions: list[ModelVersion]
) -> None:
    by_package = serve(bench, {"ModelPackageName": versions[0].arn})
    by_archive = serve(bench, {"Image": versions[1].image, "ModelDataUrl": versions[1].model_uri})
    settle(aws, versions[2].arn, APPROVED, "better")
    settle(aws, versions[3].arn, REJECTED, "worse: 0.5 against 0.75")

    found = listed(aws, versions[0].group)

    assert list(found) == [5, 4, 3, 2, 1], "the newest first"
    states = {number: (each.state, each.endpoints, each.reason) for number, each in found.items()}
    assert states == {
        1: ("champion", (by_package,), ""),
        2: ("champion", (by_archive,), ""),
        3: ("approved", (), "better"),
        4: ("rejected", (), "worse: 0.5 against 0.75"),
        5: ("challenger", (), ""),
    }
    assert found[1].cells == ("1", versions[0].run_id, "0.7500 on 4", f"champion of {by_package}", "")


def test_without_a_group_those_of_all_groups_are_listed_as_json_has_them(aws: Aws, version: ModelVersion) -> None:
    found = list_versions(aws)
    assert {each.arn for each in found} >= {version.arn}
    assert differences("models", {"models": [as_json(each) for each in found]}) == []


def as_json(version: ListedVersion) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(version).items()}


def test_a_package_that_kennel_did_not_register_is_not_listed(aws: Aws, version: ModelVersion) -> None:
    group = version.group
    theirs = aws.client("sagemaker").create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification(version.model_uri)
    )
    assert theirs["ModelPackageArn"] not in {each.arn for each in list_versions(aws, group)}


def test_a_group_that_does_not_exist_has_no_versions(aws: Aws) -> None:
    assert list_versions(aws, "kennel-no-such-group") == []


def test_a_reason_is_on_one_line_because_aws_takes_no_line_break(aws: Aws, version: ModelVersion) -> None:
    settle(aws, version.arn, REJECTED, "Traceback:\n  File\r\n\tline 2")
    found = describe_package(aws, version.arn)
    assert found is not None and found.reason == "Traceback: File line 2"


def test_a_reason_is_cut_to_what_aws_keeps(aws: Aws, version: ModelVersion) -> None:
    settle(aws, version.arn, REJECTED, "x" * 5000)
    found = describe_package(aws, version.arn)
    assert found is not None and len(found.reason) == LONGEST_REASON and found.reason.endswith("x…")
