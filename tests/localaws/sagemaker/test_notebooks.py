"""Notebook instances as localaws keeps them: AWS's states and refusals, what was asked for, nothing behind it."""

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.localaws.roles import make_role, remove_role

SCRIPT = base64.b64encode(b"#!/bin/bash\ntrue\n").decode()
ROLE = "arn:aws:iam::123456789012:role/localaws-notebooks"
SETTLE_SECONDS = 20.0


@pytest.fixture(scope="module", autouse=True)
def role(localaws: RunningLocalAws) -> Iterator[None]:
    iam = localaws.client("iam")
    make_role(iam, "localaws-notebooks", "sagemaker")
    yield
    remove_role(iam, "localaws-notebooks")


def create(sagemaker: Any, name: str, **more: Any) -> str:
    fields = {"InstanceType": "ml.t3.medium", "RoleArn": ROLE, **more}
    return str(sagemaker.create_notebook_instance(NotebookInstanceName=name, **fields)["NotebookInstanceArn"])


def until(sagemaker: Any, name: str, status: str) -> list[str]:
    """Wait until an instance has a status; return the different ones seen on the way."""
    seen: list[str] = []
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        now = sagemaker.describe_notebook_instance(NotebookInstanceName=name)["NotebookInstanceStatus"]
        seen += [now] if now not in seen[-1:] else []
        if now == status:
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{name} was never {status}, but {seen}")


def remove(sagemaker: Any, name: str) -> None:
    until(sagemaker, name, "InService")
    sagemaker.stop_notebook_instance(NotebookInstanceName=name)
    until(sagemaker, name, "Stopped")
    sagemaker.delete_notebook_instance(NotebookInstanceName=name)


def test_an_instance_goes_through_awss_states_and_is_only_deleted_when_it_is_stopped(localaws: RunningLocalAws) -> None:
    sagemaker = localaws.client("sagemaker")
    create(sagemaker, "states")
    assert until(sagemaker, "states", "InService") == ["Pending", "InService"]
    with pytest.raises(ClientError, match=r"Status \(InService\) not in \(\[Stopped, Failed\]\)"):
        sagemaker.delete_notebook_instance(NotebookInstanceName="states")
    with pytest.raises(ClientError, match=r"Unable to transition to \(Pending\)"):
        sagemaker.start_notebook_instance(NotebookInstanceName="states")
    sagemaker.stop_notebook_instance(NotebookInstanceName="states")
    with pytest.raises(ClientError, match=r"Status \(Stopping\) not in \(\[InService\]\)"):
        sagemaker.stop_notebook_instance(NotebookInstanceName="states")
    assert until(sagemaker, "states", "Stopped") == ["Stopping", "Stopped"]
    sagemaker.start_notebook_instance(NotebookInstanceName="states")
    remove(sagemaker, "states")
    with pytest.raises(ClientError, match="RecordNotFound"):
        sagemaker.describe_notebook_instance(NotebookInstanceName="states")


def test_what_was_asked_for_is_given_back_with_its_tags(localaws: RunningLocalAws) -> None:
    sagemaker = localaws.client("sagemaker")
    asked = {
        "RootAccess": "Disabled",
        "PlatformIdentifier": "notebook-al2023-v1",
        "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": "2"},
        "VolumeSizeInGB": 7,
    }
    tags = [{"Key": "a", "Value": "b"}]
    arn = create(sagemaker, "asked", Tags=tags, **asked)
    found = sagemaker.describe_notebook_instance(NotebookInstanceName="asked")
    assert {name: found[name] for name in asked} == asked
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    listed = sagemaker.list_notebook_instances(NameContains="asked")["NotebookInstances"]
    assert [item["NotebookInstanceName"] for item in listed] == ["asked"]
    remove(sagemaker, "asked")


def test_a_stopped_instance_is_changed_and_a_running_one_is_not(localaws: RunningLocalAws) -> None:
    sagemaker = localaws.client("sagemaker")
    create(sagemaker, "changed")
    until(sagemaker, "changed", "InService")
    with pytest.raises(ClientError, match=r"Unable to transition to \(Updating\)"):
        sagemaker.update_notebook_instance(NotebookInstanceName="changed", InstanceType="ml.t3.large")
    sagemaker.stop_notebook_instance(NotebookInstanceName="changed")
    until(sagemaker, "changed", "Stopped")
    sagemaker.update_notebook_instance(NotebookInstanceName="changed", InstanceType="ml.t3.large")
    assert until(sagemaker, "changed", "Stopped") == ["Updating", "Stopped"]
    assert sagemaker.describe_notebook_instance(NotebookInstanceName="changed")["InstanceType"] == "ml.t3.large"
    sagemaker.delete_notebook_instance(NotebookInstanceName="changed")


def test_a_lifecycle_configuration_keeps_its_script_and_tags_and_can_be_changed(localaws: RunningLocalAws) -> None:
    sagemaker, name = localaws.client("sagemaker"), "lifecycle"
    tags = [{"Key": "a", "Value": "b"}]
    arn = sagemaker.create_notebook_instance_lifecycle_config(
        NotebookInstanceLifecycleConfigName=name, OnStart=[{"Content": SCRIPT}], Tags=tags
    )["NotebookInstanceLifecycleConfigArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    other = base64.b64encode(b"#!/bin/bash\nfalse\n").decode()
    sagemaker.update_notebook_instance_lifecycle_config(
        NotebookInstanceLifecycleConfigName=name, OnStart=[{"Content": other}]
    )
    found = sagemaker.describe_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=name)
    assert found["OnStart"] == [{"Content": other}]
    pages = sagemaker.get_paginator("list_notebook_instance_lifecycle_configs").paginate(NameContains="lifecyc")
    assert [
        item["NotebookInstanceLifecycleConfigName"] for p in pages for item in p["NotebookInstanceLifecycleConfigs"]
    ]
    sagemaker.delete_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=name)
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=name)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"InstanceType": "ml.t3.tiny"}, "Member must satisfy enum value set"),
        ({"RoleArn": "arn:aws:iam::123456789012:role/nobody"}, "Could not assume role"),
        ({"LifecycleConfigName": "nowhere"}, "does not exist"),
        ({"SubnetId": "subnet-1"}, "SubnetId not supported by localaws"),
        ({"DirectInternetAccess": "Disabled"}, "not supported by localaws"),
    ],
)
def test_what_aws_would_refuse_or_localaws_cannot_do_is_refused(
    localaws: RunningLocalAws, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words) as caught:
        create(localaws.client("sagemaker"), "refused", **fields)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_script_of_more_than_16384_characters_is_refused(localaws: RunningLocalAws) -> None:
    with pytest.raises(ClientError, match="Member must have length less than or equal to 16384"):
        localaws.client("sagemaker").create_notebook_instance_lifecycle_config(
            NotebookInstanceLifecycleConfigName="long", OnStart=[{"Content": "A" * 16388}]
        )


def test_a_name_is_taken_once(localaws: RunningLocalAws) -> None:
    sagemaker = localaws.client("sagemaker")
    create(sagemaker, "twice")
    with pytest.raises(ClientError, match="Cannot create a duplicate Notebook Instance"):
        create(sagemaker, "twice")
    remove(sagemaker, "twice")
