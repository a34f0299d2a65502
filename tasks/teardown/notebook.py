"""Finds and removes notebook instances, which are stopped first, with their log streams and lifecycle scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.lookup import none_if_missing
from tasks.notebook.role import LOG_GROUP
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.waiting import wait_for
from tasks.teardown.kinds import REMOVE_SECONDS, Kind, only_tagged, until_gone
from tasks.teardown.plan import Resource
from tasks.teardown.sagemaker import resource_of
from tasks.teardown.storage import delete_log_streams


def _describe(aws: Aws, name: str) -> Any:
    return none_if_missing(lambda: aws.client("sagemaker").describe_notebook_instance(NotebookInstanceName=name))


def _find(aws: Aws, name: str) -> Resource | None:
    return resource_of(aws, "notebook-instance", name, _describe(aws, name), "NotebookInstanceArn")


def _find_tagged(aws: Aws) -> Iterator[Resource]:
    pages = aws.client("sagemaker").get_paginator("list_notebook_instances").paginate(NameContains=RESOURCE_PREFIX)
    return only_tagged(_find(aws, name) for name in pages.search("NotebookInstances[].NotebookInstanceName"))


def _remove(aws: Aws, name: str) -> None:
    """Stop the instance, delete it, and wait until it is gone; its volume with everything on it is deleted too."""
    wait_for(
        aws.target,
        f"notebook-instance {name}",
        lambda: _advance_removal(aws, name),
        deadline_seconds=REMOVE_SECONDS,
        poll_seconds=0.5,
        next_command="run the same command again",
    )


def _advance_removal(aws: Aws, name: str) -> tuple[bool | None, str]:
    """Stop or delete the instance, as its status allows; return (True, "gone") once it is gone."""
    sagemaker, found = aws.client("sagemaker"), _describe(aws, name)
    if found is None:
        return True, "gone"
    status = str(found["NotebookInstanceStatus"])
    if status == "InService":
        _ignore_status_change(lambda: sagemaker.stop_notebook_instance(NotebookInstanceName=name))
    elif status in {"Stopped", "Failed"}:
        delete_log_streams(aws, LOG_GROUP, f"{name}/")  # a stopped instance writes no more
        _ignore_status_change(lambda: sagemaker.delete_notebook_instance(NotebookInstanceName=name))
    return None, status


def _ignore_status_change(call: Callable[[], object]) -> None:
    """Make a call, and ignore AWS's refusal when the instance's status has changed since it was read."""
    try:
        none_if_missing(call)
    except ClientError as error:
        if "unable to transition" not in str(error).lower():
            raise


def _describe_lifecycle(aws: Aws, name: str) -> Any:
    field = {"NotebookInstanceLifecycleConfigName": name}
    return none_if_missing(lambda: aws.client("sagemaker").describe_notebook_instance_lifecycle_config(**field))


def _find_lifecycle(aws: Aws, name: str) -> Resource | None:
    found = _describe_lifecycle(aws, name)
    return resource_of(aws, "notebook-lifecycle", name, found, "NotebookInstanceLifecycleConfigArn")


def _find_tagged_lifecycles(aws: Aws) -> Iterator[Resource]:
    paginator = aws.client("sagemaker").get_paginator("list_notebook_instance_lifecycle_configs")
    pages = paginator.paginate(NameContains=RESOURCE_PREFIX)
    names = pages.search("NotebookInstanceLifecycleConfigs[].NotebookInstanceLifecycleConfigName")
    return only_tagged(_find_lifecycle(aws, name) for name in names)


def _remove_lifecycle(aws: Aws, name: str) -> None:
    field = {"NotebookInstanceLifecycleConfigName": name}
    until_gone(
        aws.target,
        f"notebook-lifecycle {name}",
        lambda: aws.client("sagemaker").delete_notebook_instance_lifecycle_config(**field),
        lambda: _describe_lifecycle(aws, name) is not None,
    )


NOTEBOOK_KINDS: Mapping[str, Kind] = {
    "notebook-instance": Kind(_find, _find_tagged, _remove),
    "notebook-lifecycle": Kind(_find_lifecycle, _find_tagged_lifecycles, _remove_lifecycle),
}
