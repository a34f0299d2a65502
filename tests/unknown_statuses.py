"""A proxy's change to replies: every status in them has a value that nobody knows, for the first polls.

Which fields are statuses is read from botocore's service descriptions: the enumerations whose names end like one.
"""

import json
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StringShape, StructureShape

from tests.aws_requests import Request, full_name
from tests.counting_proxy import Calls, Fault

UNKNOWN = "Hatching"
_NAMED_AS_STATUS = re.compile(r"(Status|State|StateName|StatusCode|StatusEnum)$")


@dataclass
class UnknownStatuses(Calls):
    """Writes `UNKNOWN` into every status of the first `polls` replies to each different request.

    `fed` has what was written, as "service.Operation Shape".
    """

    polls: int = 2
    fed: set[str] = field(default_factory=set)
    _seen: dict[tuple[str, bytes], int] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fault_for(self, operation: str, request: Request) -> Fault | None:
        """Return a fault that changes the reply, if the operation's reply can have a status."""
        model = request.operation
        if model is None or model.output_shape is None or not _has_status(model.output_shape):
            return super().fault_for(operation, request)
        return Fault(operation, change=lambda content: self._change(model, request, content))

    def _change(self, model: OperationModel, request: Request, content: bytes) -> bytes:
        changed, shapes = with_unknown_statuses(model, content)
        key = (f"{full_name(model)} {request.path}", request.body)
        with self._guard:
            if not shapes or self._seen.get(key, 0) >= self.polls:
                return content
            self._seen[key] = self._seen.get(key, 0) + 1
            self.fed.update(f"{full_name(model)} {shape}" for shape in shapes)
        return changed


def with_unknown_statuses(model: OperationModel, content: bytes) -> tuple[bytes, set[str]]:
    """Return a reply with every status changed, and the names of the changed shapes."""
    changed: set[str] = set()

    def change(shape: Shape) -> str:
        changed.add(shape.name)
        return UNKNOWN

    try:
        if "json" in model.service_model.protocol:
            reply = json.loads(content)
            _change_json(reply, model.output_shape, change)
            return json.dumps(reply).encode(), changed
        root = ET.fromstring(content)
    except ValueError:
        return content, changed
    except ET.ParseError:
        return content, changed
    wrapper = model.output_shape.serialization.get("resultWrapper")
    for node in _children(root, wrapper) if wrapper else (root,):
        _change_xml(node, model.output_shape, change)
    return ET.tostring(root), changed


def _is_status(name: str, shape: Shape) -> bool:
    is_named = _NAMED_AS_STATUS.search(name) or _NAMED_AS_STATUS.search(shape.name)
    return isinstance(shape, StringShape) and bool(shape.enum) and is_named is not None


def _has_status(shape: Shape, name: str = "", above: tuple[str, ...] = ()) -> bool:
    if shape.name in above:
        return False
    inner = (*above, shape.name)
    if isinstance(shape, StructureShape):
        return any(_has_status(member, each, inner) for each, member in shape.members.items())
    if isinstance(shape, ListShape):
        return _has_status(shape.member, name, inner)
    return _has_status(shape.value, name, inner) if isinstance(shape, MapShape) else _is_status(name, shape)


def _change_json(value: Any, shape: Shape, change: Callable[[Shape], str]) -> None:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name, member in shape.members.items():
            key = member.serialization.get("name", name)
            if _is_status(name, member) and isinstance(value.get(key), str):
                value[key] = change(member)
            else:
                _change_json(value.get(key), member, change)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for each in value:
            _change_json(each, shape.member, change)


def _change_xml(node: ET.Element, shape: Shape, change: Callable[[Shape], str]) -> None:
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            for child in _children(node, member.serialization.get("name", name)):
                if _is_status(name, member):
                    child.text = change(member)
                else:
                    _change_xml(child, member, change)
    elif isinstance(shape, ListShape):
        for each in (node,) if shape.serialization.get("flattened") else tuple(node):
            _change_xml(each, shape.member, change)


def _children(node: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for child in node if child.tag.rpartition("}")[2] == name)
