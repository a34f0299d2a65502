"""Requests to AWS as a proxy sees them, and the operation of each, found in botocore's own service descriptions."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import botocore.session
from botocore.model import OperationModel, ServiceModel

READING = ("Describe", "Get", "List", "Head", "Filter", "Lookup", "Simulate", "Invoke")
_SIGNED_FOR = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/aws4_request")
_SERVICES = {"servicequotas": "service-quotas", "monitoring": "cloudwatch"}
"""Names in signatures that are not botocore's names of the services."""


@dataclass(frozen=True)
class Request:
    """A request; `path` includes the query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> OperationModel | None:
        """The operation that is asked for, or None for a request that is not signed for a service."""
        signed = _SIGNED_FOR.search(self.headers.get("Authorization", ""))
        if signed is None:
            return None
        named = self._name()
        service = _SERVICES.get(signed[1], signed[1])
        if named is not None:
            return service_model(service).operation_model(named)
        return _rest_operation("sagemaker-runtime" if service == "sagemaker" else service, self.method, self.path)

    @property
    def invocation(self) -> str:
        """What all attempts of one call have in common."""
        return self.headers.get("amz-sdk-invocation-id", "")

    def _name(self) -> str | None:
        """The operation's name in a protocol that sends it: in a header, in the path or in the body."""
        target = self.headers.get("X-Amz-Target")
        if target:
            return target.rpartition(".")[2]
        if "/operation/" in self.path:
            return self.path.rpartition("/operation/")[2]
        if self.method == "POST" and self.body.startswith((b"Action=", b"Version=")):
            return parse_qs(self.body.decode())["Action"][0]
        return None


def full_name(operation: OperationModel) -> str:
    """Return the name with its service: "iam.CreateRole"."""
    return f"{operation.service_model.service_name}.{operation.name}"


def changes_something(operation: OperationModel) -> bool:
    """Tell whether the operation creates, changes or deletes; invoking a model or a function does not."""
    return not operation.name.startswith(READING)


@functools.cache
def service_model(service: str) -> ServiceModel:
    """Return botocore's description of a service."""
    return botocore.session.get_session().get_service_model(service)


def _rest_operation(service: str, method: str, path: str) -> OperationModel | None:
    """Return the operation of that method and path that asks for the most of the query."""
    url = urlsplit(path)
    query = set(parse_qs(url.query, keep_blank_values=True))
    fitting = [
        (len(needed), pattern, name)
        for name, verb, pattern, needed in _routes(service)
        if verb == method and needed <= query and re.fullmatch(pattern, url.path)
    ]
    return service_model(service).operation_model(max(fitting)[2]) if fitting else None


@functools.cache
def _routes(service: str) -> list[tuple[str, str, str, frozenset[str]]]:
    """Return (operation, method, pattern of the path, what the query must have) of all operations."""
    routes = []
    for name in service_model(service).operation_names:
        operation = service_model(service).operation_model(name)
        template = urlsplit(operation.http["requestUri"])
        pattern = re.sub(r"\\\{\w+\\\+\\\}", ".+", re.escape(template.path))
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", pattern)
        needed = set(parse_qs(template.query, keep_blank_values=True)) | _required_in_query(operation)
        if "CopySource" not in _required(operation):
            routes.append((name, operation.http["method"], pattern.rstrip("/") + "/?", frozenset(needed)))
    return routes


def _required(operation: OperationModel) -> list[str]:
    return list(operation.input_shape.required_members) if operation.input_shape else []


def _required_in_query(operation: OperationModel) -> set[str]:
    members = operation.input_shape.members if operation.input_shape else {}
    shapes = [members[name] for name in _required(operation)]
    return {shape.serialization["name"] for shape in shapes if shape.serialization.get("location") == "querystring"}
