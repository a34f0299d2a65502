"""From a verified request to the operation that it asks for and its parameters, as moto will read them.

moto takes an operation's name and its parameters from wherever it finds one: the query, a form, a JSON body read as a
form, headers, the path. What is decided here has to be what moto does, so a request that could be read in two ways is
refused; botocore sends none.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from localaws.auth.signature_gate import BODY
from localaws.permissions.parameters import Unreadable, from_pairs, merged, read_document

FORM = "application/x-www-form-urlencoded"
LONGEST_BODY_BYTES = 128 * 2**20
RUNTIME = "/endpoints/"
INVOCATIONS = "/invocations"  # ends the paths that are asked most
ASKED = "localaws.asked"  # in an ASGI scope
SIGNATURE = "x-amz-"  # begins names of headers, and those of a signature in the query
_TELLING_HEADERS = ("x-amz-copy-source", "x-amz-object-attributes")  # on which S3's operation depends
_INVOCATIONS = {
    "invocations": "InvokeEndpoint",
    "async-invocations": "InvokeEndpointAsync",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
}


class UnknownOperation(LookupError):
    """The request names no operation of the service, or could be read as two; the message says which."""


@dataclass(frozen=True)
class Asked:
    """A request whose signature holds.

    `service`: its signing name; `path` and `query`: percent-encoded; names of `headers`: in lower case; `body`: None
    where it was not read (the content of S3's objects); `signer_arn`: empty where it does not matter who signed.
    """

    service: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes | None = None
    signer_arn: str = ""

    def signed_by(self, arn: str) -> Asked:
        """Return the request with its signer; what it asks for is not read a second time."""
        found = replace(self, signer_arn=arn)
        if "operation" in vars(self):
            vars(found)["operation"] = self.operation
        return found

    @property
    def is_form(self) -> bool:
        """Whether the body is a form, in which everything is text."""
        return self.service not in ("lambda", "s3") and "x-amz-target" not in self.headers

    @functools.cached_property
    def operation(self) -> Operation:
        """What the request asks for.

        Raises:
            UnknownOperation: nothing that the service has, or more than one thing.
        """
        return operation_of(self)


@dataclass(frozen=True)
class Operation:
    """A named operation of botocore's model and its parameters.

    `service`: the signing name; `parameters`: by their names in botocore's input shape, nested as JSON. In the query
    protocols numbers and booleans are strings.
    """

    service: str
    name: str
    parameters: Mapping[str, Any]
    signer_arn: str = ""


@dataclass(frozen=True)
class Served:
    """How botocore calls a service, and how IAM's actions begin."""

    model: str
    prefix: str


SERVED = {  # by signing name
    **{name: Served(name, name) for name in ("application-autoscaling", "ec2", "iam", "kms", "lambda", "logs", "s3")},
    **{name: Served(name, name) for name in ("sagemaker", "ssm", "sts")},
    "budgets": Served("budgets", "budgets"),
    "monitoring": Served("cloudwatch", "cloudwatch"),
    "pricing": Served("pricing", "pricing"),
    "servicequotas": Served("service-quotas", "servicequotas"),
    "tagging": Served("resourcegroupstaggingapi", "tag"),
}


def operation_of(asked: Asked) -> Operation:
    """Return what a request asks for.

    Raises:
        UnknownOperation: nothing that the service has, or more than one thing.
    """
    if asked.service not in SERVED:
        raise UnknownOperation(f"{asked.service}:{asked.method} {asked.path}")
    try:
        return _read(asked)
    except Unreadable as error:
        raise UnknownOperation(f"{asked.service}, whose request could be read in two ways: {error}") from None


def asked_in(scope: MutableMapping[str, Any], service: str) -> Asked:
    """Return the verified request of an ASGI scope, read once; its body is there if it was read."""
    if ASKED not in scope:
        scope[ASKED] = Asked(
            service=service,
            method=scope["method"],
            path=scope["raw_path"].decode("latin1"),
            query=scope["query_string"].decode("latin1"),
            headers={name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]},
            body=scope.get(BODY),
        )
    found: Asked = scope[ASKED]
    return found


def model_of(operation: Operation) -> Any:
    """Return botocore's model of an operation.

    Raises:
        UnknownOperation: it is the runtime's, which has a model of its own.
    """
    service = _service(operation.service)
    if operation.name not in service.operation_names:
        raise UnknownOperation(operation.name)
    return service.operation_model(operation.name)


def operation_names(service: str) -> list[str]:
    """Return the names of all operations of a service, by its signing name."""
    return list(_service(service).operation_names)


def _read(asked: Asked) -> Operation:
    if asked.service == "sagemaker" and asked.path.startswith(RUNTIME):
        return _invocation(asked)
    if asked.service == "s3":
        return _s3(asked)
    body = _body(asked)
    if asked.service == "lambda":
        return _rest(asked, body)
    if "x-amz-target" in asked.headers:
        return _json(asked, body)
    return _query(asked, body)


def _query(asked: Asked, body: bytes) -> Operation:
    """Read a form, which may be in the query."""
    if body and not asked.headers.get("content-type", "").startswith(FORM):
        raise Unreadable("its body is no form")
    pairs = [*_pairs(asked.query), *_pairs(body.decode("utf-8", "replace"))]
    named = dict(pairs)
    if len(named) < len(pairs):
        raise Unreadable("a parameter is given twice")
    operation = _model(asked, named.get("Action", ""))
    return Operation(asked.service, operation.name, from_pairs(named, operation.input_shape, asked.service == "ec2"))


def _json(asked: Asked, body: bytes) -> Operation:
    prefix, _, name = asked.headers["x-amz-target"].rpartition(".")
    operation = _model(asked, name)
    if operation.service_model.metadata.get("targetPrefix") != prefix:
        raise UnknownOperation(f"{SERVED[asked.service].prefix}:{asked.headers['x-amz-target']}")
    _check_query(_pairs(asked.query), ())
    _check_form(asked, body, _names(operation))
    return Operation(asked.service, operation.name, _members_in(read_document(body), operation))


def _rest(asked: Asked, body: bytes) -> Operation:
    """Read Lambda's: path, query and a JSON body, none of which has what is another's."""
    operation, labels = _match(asked)
    bound, lists = _bound(operation)
    pairs = _pairs(asked.query)
    document = {} if operation.name.startswith("Invoke") else read_document(body)
    _check_query(pairs, {*(bound.keys() - labels.keys()), *operation.http_trait.query_args})
    named = frozenset(each for each in bound if not each.startswith(SIGNATURE))  # not those that are headers
    _check_form(asked, body if document else b"", frozenset({"Action"}) | named)
    if document.keys() & bound.keys() or "x-amz-target" in asked.headers:
        raise Unreadable("a parameter of the path is in the body too")
    outside = merged([*labels.items(), *pairs], bound, lists)
    return Operation(asked.service, operation.name, {**_members_in(document, operation), **outside})


def _s3(asked: Asked) -> Operation:
    """Read S3's path, query and headers; tags and settings in a body are no part of what is decided."""
    pairs = _pairs(asked.query, keeps_plus=False)
    telling = [each for each in pairs if each[0] in _telling()]
    if asked.path.startswith("//") or len(_subresources() & {name for name, _ in telling}) > 1:
        raise Unreadable("it names more than one subresource, or no bucket")
    bucket, key = _bucket_and_key(asked)
    level = "/bucket/key" if key else "/bucket" if bucket else "/"
    named = tuple(name for name in _TELLING_HEADERS if name in asked.headers)
    operation = _s3_operation(asked.method, level, tuple(telling), named)
    bound, lists = _bound(operation)
    headers = [(name, value) for name, value in asked.headers.items() if name in bound]
    labels = [(name, value) for name, value in (("Bucket", bucket), ("Key", key)) if value]
    return Operation("s3", operation.name, merged([*headers, *labels, *pairs], bound, lists))


def _bucket_and_key(asked: Asked) -> tuple[str, str]:
    named = _bucket_in(asked.headers.get("host", ""))
    bucket, _, key = (f"{named}{asked.path}" if named else asked.path.lstrip("/")).partition("/")
    if "%" in bucket:
        raise Unreadable("the name of the bucket is percent-encoded")
    return bucket, unquote(key)


@functools.lru_cache(maxsize=1024)
def _s3_operation(method: str, level: str, telling: tuple[tuple[str, str], ...], headers: tuple[str, ...]) -> Any:
    return _match(Asked("s3", method, level, urlencode(telling), dict.fromkeys(headers, "")))[0]


@functools.lru_cache(maxsize=256)
def _bucket_in(host: str) -> str:
    from localaws.s3.hosts import bucket_of

    return bucket_of(host)


def _invocation(asked: Asked) -> Operation:
    name, _, kind = asked.path.removeprefix(RUNTIME).rpartition("/")
    if kind not in _INVOCATIONS or asked.method != "POST":
        raise UnknownOperation(f"sagemaker:{asked.method} {asked.path}")
    return Operation("sagemaker", _INVOCATIONS[kind], {"EndpointName": unquote(name)})  # as the route reads it


def _members_in(document: Mapping[str, Any], operation: Any) -> dict[str, Any]:
    """Return what the operation has: a name that only others have must not stand for what it acts on."""
    return {name: value for name, value in document.items() if name in _names(operation)}


def _check_form(asked: Asked, body: bytes, names: frozenset[str]) -> None:
    """Refuse a body or headers that moto would take for a form with parameters of the operation.

    Raises:
        Unreadable: it would.
    """
    if asked.headers.get("content-type", "").startswith((FORM, "multipart/")):
        raise Unreadable("its content type is a form's")
    if b"&" in body and any(name in names for name, _ in _pairs(body.decode("utf-8", "replace"))):
        raise Unreadable("its JSON is a form with parameters of the operation too")
    if not body and not asked.query and any(name.lower() in asked.headers for name in names):
        raise Unreadable("a header has the name of a parameter")


def _check_query(pairs: list[tuple[str, str]], allowed: Iterable[str]) -> None:
    """Refuse parameters in the query that the operation does not have there.

    Raises:
        Unreadable: there is one.
    """
    for name, _ in pairs:
        if name not in allowed and not name.lower().startswith(SIGNATURE):
            raise Unreadable(f"{name} is in its query")


def _pairs(text: str, *, keeps_plus: bool = True) -> list[tuple[str, str]]:
    """Return names and values of a query or a form; `keeps_plus`: a plus is a space there."""
    return parse_qsl(text if keeps_plus else text.replace("+", "%2B"), keep_blank_values=True) if text else []


def _body(asked: Asked) -> bytes:
    body = asked.body or b""
    if asked.headers.get("content-encoding") != "gzip":
        return body
    reader = zlib.decompressobj(wbits=31)
    try:
        text = reader.decompress(body, LONGEST_BODY_BYTES)
    except zlib.error:
        raise Unreadable("its body is no gzip") from None
    if reader.unconsumed_tail or reader.unused_data:
        raise Unreadable("its body is too long, or has more than one part")
    return text


def _model(asked: Asked, name: str) -> Any:
    service = _service(asked.service)
    if name not in service.operation_names:
        raise UnknownOperation(f"{SERVED[asked.service].prefix}:{name}")
    return service.operation_model(name)


def _match(asked: Asked) -> tuple[Any, dict[str, str]]:
    """Return moto's operation of a path, and the values of the variables there."""
    from moto.core.routing import get_service_router
    from werkzeug.exceptions import NotFound

    host = asked.headers.get("host", "localhost")
    request: Any = SimpleNamespace(
        method=asked.method,
        host=host,
        raw_path=asked.path,
        url=f"http://{host}{asked.path}",
        args=dict(_pairs(asked.query)),
        headers=asked.headers,
        content_type=None,
    )
    try:
        found = get_service_router(SERVED[asked.service].model).match(request)
    except (NotFound, NotImplementedError):
        raise UnknownOperation(f"{asked.service}:{asked.method} {asked.path}") from None
    return found[0], found[1]


@functools.cache
def _service(signing_name: str) -> Any:
    from moto.core.utils import get_service_model

    return get_service_model(SERVED[signing_name].model)


@functools.cache
def _names(operation: Any) -> frozenset[str]:
    shape = operation.input_shape
    return frozenset({"Action", *(shape.members if shape is not None else ())})


@functools.cache
def _bound(operation: Any) -> tuple[Mapping[str, str], frozenset[str]]:
    """Return the members that are in path, query and headers by their name there, and the names of lists of these."""
    shape = operation.input_shape
    members = shape.members if shape is not None else {}
    found = {each.serialization.get("name", name): (name, each) for name, each in members.items() if _is_bound(each)}
    lists = frozenset(there for there, (_, each) in found.items() if each.type_name == "list")
    return {_there(there, each): name for there, (name, each) in found.items()}, lists


def _is_bound(shape: Any) -> bool:
    return shape.serialization.get("location") in ("uri", "querystring", "header")


def _there(name: str, shape: Any) -> str:
    return name.lower() if shape.serialization["location"] == "header" else name


@functools.cache
def _subresources() -> frozenset[str]:
    """Return the names in a query that tell S3's operations apart."""
    model = _service("s3")
    named: Iterator[str] = (
        each for name in model.operation_names for each in model.operation_model(name).http_trait.query_args
    )
    return frozenset(named) - {"select-type"} | {"uploadId"}


@functools.cache
def _telling() -> frozenset[str]:
    """Return all names in a query on which S3's operation depends."""
    return _subresources() | {"id", "partNumber", "select-type", "annotationName"}
