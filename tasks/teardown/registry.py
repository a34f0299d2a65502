"""Finds and removes model packages and their groups. A group in which other runs have packages stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.account.lookup import none_if_missing
from tasks.registry.groups import KIND as GROUP
from tasks.registry.groups import describe_group, group_tags
from tasks.registry.packages import KIND as PACKAGE
from tasks.registry.packages import find_package, groups_of_kennel, list_packages, package_arns
from tasks.run.aws import Aws
from tasks.teardown.kinds import Kind, only_tagged, until_gone
from tasks.teardown.plan import Resource


def _find_group(aws: Aws, name: str) -> Resource | None:
    found = describe_group(aws, name)
    return None if found is None else Resource(GROUP, name, group_tags(aws, name, str(found["ModelPackageGroupArn"])))


def _find_tagged_groups(aws: Aws) -> Iterator[Resource]:
    return only_tagged(_find_group(aws, name) for name in groups_of_kennel(aws))


def _remove_group(aws: Aws, name: str) -> None:
    """Delete an empty group; one with packages stays, and the check at the teardown's end reports it."""
    listed = none_if_missing(lambda: list(package_arns(aws, name)))
    if listed != []:
        return
    delete = aws.client("sagemaker").delete_model_package_group
    until_gone(
        aws.target,
        f"{GROUP} {name}",
        lambda: delete(ModelPackageGroupName=name),
        lambda: describe_group(aws, name) is not None,
    )


def _find_package(aws: Aws, name: str) -> Resource | None:
    found = find_package(aws, name)
    return None if found is None else Resource(PACKAGE, name, found.metadata)


def _find_tagged_packages(aws: Aws) -> Iterator[Resource]:
    for group in groups_of_kennel(aws):
        yield from (Resource(PACKAGE, each.name, each.metadata) for each in list_packages(aws, group))


def _remove_package(aws: Aws, name: str) -> None:
    found = find_package(aws, name)
    if found is not None:
        delete = aws.client("sagemaker").delete_model_package
        until_gone(
            aws.target,
            f"{PACKAGE} {name}",
            lambda: delete(ModelPackageName=found.arn),
            lambda: find_package(aws, name) is not None,
        )


REGISTRY_KINDS: Mapping[str, Kind] = {
    PACKAGE: Kind(_find_package, _find_tagged_packages, _remove_package),
    GROUP: Kind(_find_group, _find_tagged_groups, _remove_group),
}
