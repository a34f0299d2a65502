"""Versions of the registry go with their run; a group that others use stays. Alarms of a killed promotion go too."""

import shutil
from pathlib import Path

import pytest

from tasks.promotion.guards import Guard, ensure_guards
from tasks.registry.packages import ModelVersion
from tasks.registry.register import register_model
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, TeardownIncomplete
from tasks.run.handle import Run
from tasks.serving.endpoint_plan import guard_prefix
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.teardown import tear_down
from tests.conftest import RunningLocalAws
from tests.tasks.registry.test_register import specification
from tests.tasks.registry.trained_runs import account, trained_run

NAME = "shared dogs"


@pytest.fixture
def aws(own_localaws: RunningLocalAws, tmp_path: Path) -> Aws:
    return account(own_localaws.url, tmp_path)


def registered(aws: Aws, run_id: str) -> ModelVersion:
    return register_model(trained_run(aws, run_id, NAME))


def remove(aws: Aws, run_id: str | None) -> list[str]:
    lines: list[str] = []
    tear_down(aws, run_id, yes=True, say=lines.append)
    return lines


def left(aws: Aws) -> set[tuple[str, str]]:
    kinds = ("model-package", "model-package-group", "alarm")
    return {item.key for kind in kinds for item in KINDS[kind].find_tagged(aws)}


def test_a_group_stays_while_another_run_uses_it_and_goes_with_the_last(aws: Aws) -> None:
    first, second = registered(aws, "run-1"), registered(aws, "run-2")
    group = ("model-package-group", first.group)
    lines = remove(aws, "run-1")
    assert left(aws) == {group, ("model-package", second.name)}
    assert f"  keep   model-package-group {first.group}: run run-2 uses it" in lines
    remove(aws, "run-2")
    assert left(aws) == set()


def test_without_a_ledger_metadata_and_tags_are_enough(aws: Aws) -> None:
    registered(aws, "run-1")
    shutil.rmtree(aws.settings.runs)
    remove(aws, None)
    assert left(aws) == set()


def test_a_group_in_which_somebody_else_has_a_version_stays_and_is_said(aws: Aws) -> None:
    version, client = registered(aws, "run-1"), aws.client("sagemaker")
    theirs = client.create_model_package(
        ModelPackageGroupName=version.group, InferenceSpecification=specification(version.model_uri)
    )["ModelPackageArn"]
    lines = remove(aws, "run-1")
    assert f"  keep   model-package-group {version.group}: it holds what is not of these runs" in lines
    assert f"  gone   model-package {version.name}" in lines
    with pytest.raises(TeardownIncomplete, match=f"model-package-group {version.group} is still there"):
        remove(aws, None)
    assert client.describe_model_package(ModelPackageName=theirs)
    client.delete_model_package(ModelPackageName=theirs)
    remove(aws, None)
    assert left(aws) == set()


def test_alarms_of_a_killed_promotion_go_and_those_of_others_stay(aws: Aws) -> None:
    run, client = Run(aws, "run-1"), aws.client("cloudwatch")
    name = f"{guard_prefix('run-1')}errors"
    ensure_guards(run, (Guard(name, "Invocation5XXErrors", "Average", 0.01),))
    client.put_metric_alarm(
        AlarmName="kennel-theirs",
        Namespace="n",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    assert left(aws) == {("alarm", name)}
    shutil.rmtree(aws.settings.runs)
    remove(aws, None)
    assert [each["AlarmName"] for each in client.describe_alarms()["MetricAlarms"]] == ["kennel-theirs"]
    client.delete_alarms(AlarmNames=["kennel-theirs"])


def test_an_alarm_of_that_name_of_another_run_is_refused_and_not_changed(aws: Aws, tmp_path: Path) -> None:
    name = f"{guard_prefix('run-1')}errors"
    ensure_guards(Run(aws, "run-2"), (Guard(name, "Invocation5XXErrors", "Average", 0.5),))
    with pytest.raises(OwnershipRefused, match=f"alarm {name}"):
        ensure_guards(Run(aws, "run-1"), (Guard(name, "Invocation5XXErrors", "Average", 0.01),))
    (alarm,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert alarm["Threshold"] == 0.5
    remove(aws, None)
    assert left(aws) == set()
