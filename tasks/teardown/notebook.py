"""The teardown's kinds of a notebook: the instance, stopped first, with its log streams; its lifecycle script."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.lookup import none_if_missing, tags_to_dict
from tasks.notebook.role import LOG_GROUP
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.waiting import wait_for
from tasks.teardown.kinds import REMOVE_SECONDS, Kind, tagged, until_gone
from tasks.teardown.plan import Found


def _describe(aws: Aws, name: str) -> Any:
    return none_if_missing(lambda: aws.client("sagemaker").describe_notebook_instance(NotebookInstanceName=name))


def _look(aws: Aws, name: str) -> Found | None:
    return _found(aws, "notebook-instance", name, _describe(aws, name), "NotebookInstanceArn")


def _search(aws: Aws) -> Iterator[Found]:
    pages = aws.client("sagemaker").get_paginator("list_notebook_instances").paginate(NameContains=RESOURCE_PREFIX)
    names = [item["NotebookInstanceName"] for page in pages for item in page["NotebookInstances"]]
    return tagged(_look(aws, name) for name in names)


def _remove(aws: Aws, name: str) -> None:
    """Stop the instance, wait, delete it, wait until it is gone. Its volume, and all that was saved there, goes too."""
    wait_for(
        f"notebook-instance {name}",
        lambda: _step(aws, name),
        deadline_seconds=REMOVE_SECONDS,
        poll_seconds=0.5,
        next_command="kennel down --yes",
    )


def _step(aws: Aws, name: str) -> tuple[bool | None, str]:
    """Do what the instance's status calls for; found is True once it is gone."""
    sagemaker, found = aws.client("sagemaker"), _describe(aws, name)
    if found is None:
        return True, "gone"
    status = str(found["NotebookInstanceStatus"])
    if status == "InService":
        _unless_moving(lambda: sagemaker.stop_notebook_instance(NotebookInstanceName=name))
    elif status in {"Stopped", "Failed"}:
        _remove_streams(aws, name)
        _unless_moving(lambda: sagemaker.delete_notebook_instance(NotebookInstanceName=name))
    return None, status


def _unless_moving(call: Any) -> None:
    """Make a call that the status allowed a moment ago: the instance may have stopped itself since."""
    try:
        none_if_missing(call)
    except ClientError as error:
        if "unable to transition" not in str(error).lower():
            raise


def _remove_streams(aws: Aws, name: str) -> None:
    """Delete the instance's streams from the group that all instances share; a stopped one writes no more."""
    logs = aws.client("logs")
    pages = logs.get_paginator("describe_log_streams")
    wanted = {"logGroupName": LOG_GROUP, "logStreamNamePrefix": f"{name}/"}
    found = none_if_missing(lambda: [stream for page in pages.paginate(**wanted) for stream in page["logStreams"]])
    for stream in found or []:
        none_if_missing(partial(logs.delete_log_stream, logGroupName=LOG_GROUP, logStreamName=stream["logStreamName"]))


def _describe_lifecycle(aws: Aws, name: str) -> Any:
    field = {"NotebookInstanceLifecycleConfigName": name}
    return none_if_missing(lambda: aws.client("sagemaker").describe_notebook_instance_lifecycle_config(**field))


def _look_lifecycle(aws: Aws, name: str) -> Found | None:
    found = _describe_lifecycle(aws, name)
    return _found(aws, "notebook-lifecycle", name, found, "NotebookInstanceLifecycleConfigArn")


def _search_lifecycles(aws: Aws) -> Iterator[Found]:
    paginator = aws.client("sagemaker").get_paginator("list_notebook_instance_lifecycle_configs")
    pages = paginator.paginate(NameContains=RESOURCE_PREFIX)
    configs = [item for page in pages for item in page["NotebookInstanceLifecycleConfigs"]]
    return tagged(_look_lifecycle(aws, item["NotebookInstanceLifecycleConfigName"]) for item in configs)


def _remove_lifecycle(aws: Aws, name: str) -> None:
    field = {"NotebookInstanceLifecycleConfigName": name}
    until_gone(
        f"notebook-lifecycle {name}",
        lambda: aws.client("sagemaker").delete_notebook_instance_lifecycle_config(**field),
        lambda: _describe_lifecycle(aws, name) is not None,
    )


def _found(aws: Aws, kind: str, name: str, found: Any, arn_field: str) -> Found | None:
    if found is None:
        return None
    tags = none_if_missing(lambda: aws.client("sagemaker").list_tags(ResourceArn=found[arn_field])["Tags"])
    return Found(kind, name, tags_to_dict(tags or []))


NOTEBOOK_KINDS = {
    "notebook-instance": Kind(_look, _search, _remove),
    "notebook-lifecycle": Kind(_look_lifecycle, _search_lifecycles, _remove_lifecycle),
}
