"""Finds and removes Lambda functions, their aliases and URLs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.account.lookup import function_tags, none_if_missing
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.serving.public_url import KIND as URL
from tasks.serving.public_url import find_url, remove_url
from tasks.teardown.kinds import Kind, find_none, only_tagged, until_gone
from tasks.teardown.plan import Resource
from tasks.teardown.scaling import remove_provisioned_of


def _find_function(aws: Aws, name: str) -> Resource | None:
    found = none_if_missing(lambda: aws.client("lambda").get_function(FunctionName=name))
    return None if found is None else Resource("function", name, dict(function_tags(aws, found)))


def _find_tagged_functions(aws: Aws) -> Iterator[Resource]:
    names = aws.client("lambda").get_paginator("list_functions").paginate().search("Functions[].FunctionName")
    return only_tagged(_find_function(aws, name) for name in names if name.startswith(RESOURCE_PREFIX))


def _remove_function(aws: Aws, name: str) -> None:
    client = aws.client("lambda")
    until_gone(
        aws.target,
        f"function {name}",
        lambda: client.delete_function(FunctionName=name),
        lambda: none_if_missing(lambda: client.get_function(FunctionName=name)) is not None,
    )


def _find_url(aws: Aws, name: str) -> Resource | None:
    return None if find_url(aws, name) is None else Resource(URL, name)


def _find_alias(aws: Aws, name: str) -> Resource | None:
    function, _, alias = name.partition(":")
    found = none_if_missing(lambda: aws.client("lambda").get_alias(FunctionName=function, Name=alias))
    return None if found is None else Resource("function-alias", name)


def _remove_alias(aws: Aws, name: str) -> None:
    """Delete the alias's provisioned concurrency, then the alias."""
    remove_provisioned_of(aws, name)
    function, _, alias = name.partition(":")
    none_if_missing(lambda: aws.client("lambda").delete_alias(FunctionName=function, Name=alias))


FUNCTION_KINDS: Mapping[str, Kind] = {
    URL: Kind(_find_url, find_none, remove_url),
    "function-alias": Kind(_find_alias, find_none, _remove_alias),
    "function": Kind(_find_function, _find_tagged_functions, _remove_function),
}
