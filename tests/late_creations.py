"""A proxy before localaws that does not know for some seconds what was just made, as AWS's servers do not all at once.

Asked for it, or to make something that names it, it answers that there is no such thing.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from tests.aws_requests import Request
from tests.counting_proxy import Calls, Fault

NAMES = {
    "TrainingJobName": ("CreateTrainingJob", {"DescribeTrainingJob"}),
    "ModelName": ("CreateModel", {"DescribeModel", "CreateEndpointConfig"}),
    "EndpointConfigName": ("CreateEndpointConfig", {"DescribeEndpointConfig", "CreateEndpoint"}),
    "EndpointName": ("CreateEndpoint", {"DescribeEndpoint"}),
}
"""SageMaker's names, the operation that makes what has one, and those that need it to be there."""
_FUNCTIONS = re.compile(r"/20\d\d-\d\d-\d\d/functions/?(?:(?:[^/?]*%3A)?([^/?%]+))?")
_ROLE = re.compile(rb"RoleName=([^&]+)")


class LateCreations(Calls):
    """`told` has every "there is no such thing" that was answered for something that exists."""

    def __init__(self, late_seconds: float) -> None:
        super().__init__()
        self.told: list[str] = []
        self._late_seconds = late_seconds
        self._made: dict[str, float] = {}

    def fault_for(self, operation: str, request: Request) -> Fault | None:
        """Return the answer to a call that needs something which was just made; note what a call makes."""
        name = operation.rpartition(".")[2]
        for needed in _needed_by(name, request):
            if time.monotonic() - self._made.get(needed, -self._late_seconds) < self._late_seconds:
                self.told.append(f"{name.partition(' ')[0]} {needed}")
                return _refusal(operation, needed)
        if made := _made_by(name, request):
            self._made.setdefault(made, time.monotonic())
        return None


def _made_by(name: str, request: Request) -> str | None:
    for field, (makes, _) in NAMES.items():
        if name == makes:
            return f"{field} {_json(request)[field]}"
    if name == "CreateRole" and (role := _ROLE.search(request.body)):
        return f"role {role[1].decode()}"
    found = _FUNCTIONS.match(request.path)
    is_new = found and not found[1] and request.method == "POST"
    return f"function {_json(request)['FunctionName']}" if is_new else None


def _needed_by(name: str, request: Request) -> Iterator[str]:
    for field, (_, needing) in NAMES.items():
        if name in needing:
            given = _json(request)
            variants = given.get("ProductionVariants") or [{}]
            yield f"{field} {given.get(field) or variants[0].get(field)}"
    if name in {"GetRole", "PutRolePolicy", "GetRolePolicy"} and (role := _ROLE.search(request.body)):
        yield f"role {role[1].decode()}"
    if (found := _FUNCTIONS.match(request.path)) and found[1] and not request.path.endswith("/invocations"):
        yield f"function {found[1]}"


def _json(request: Request) -> dict[str, Any]:
    return dict(json.loads(request.body))


def _refusal(operation: str, needed: str) -> Fault:
    if needed.startswith("role "):
        error = f"<Type>Sender</Type><Code>NoSuchEntity</Code><Message>The {needed} cannot be found.</Message>"
        body = f"<ErrorResponse><Error>{error}</Error><RequestId>0</RequestId></ErrorResponse>"
        return Fault(operation, instead=(404, body.encode()), headers=(("Content-Type", "text/xml"),))
    code, status = ("ResourceNotFoundException", 404) if needed[0] == "f" else ("ValidationException", 400)
    text = f"Could not find {needed}" if status == 400 else f"Function not found: {needed}"
    body = json.dumps({"__type": code, "message": text, "Message": text})
    headers = (("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code), ("x-amzn-RequestId", "0"))
    return Fault(operation, instead=(status, body.encode()), headers=headers)
