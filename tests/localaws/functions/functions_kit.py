"""Making functions in a localaws under test."""

import io
import json
import uuid
import zipfile
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
WHO = "import os\ndef handler(event, context):\n    return {'pid': os.getpid(), 'arn': context.invoked_function_arn}\n"


def zipped(source: str, name: str = "handler.py") -> bytes:
    """Return a zip with one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, source)
    return buffer.getvalue()


@dataclass
class Functions:
    """Creates functions with names of their own in one server."""

    aws: Any
    role: str

    @classmethod
    def of(cls, server: Any) -> "Functions":
        name = f"lambda-{uuid.uuid4().hex[:12]}"
        made = server.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        return cls(server.client("lambda"), made["Role"]["Arn"])

    def make(self, source: str = WHO, **config: Any) -> str:
        name = f"f-{uuid.uuid4().hex[:12]}"
        self.create(name, **{"Code": {"ZipFile": zipped(source)}, **config})
        return name

    def create(self, name: str, **config: Any) -> Any:
        defaults = {"Runtime": "python3.11", "Role": self.role, "Handler": "handler.handler", "Timeout": 10}
        return self.aws.create_function(FunctionName=name, **{**defaults, **config})

    def invoke(self, name: str, event: Any = None, **arguments: Any) -> Any:
        reply = self.aws.invoke(FunctionName=name, Payload=json.dumps(event or {}), **arguments)
        body = reply["Payload"].read()
        return {**reply, "Payload": json.loads(body) if body else None}


def error_of(call: Any, **arguments: Any) -> tuple[str, str, int]:
    """Return code, message and status of the error that a call must raise."""
    try:
        call(**arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return error.response["Error"]["Code"], error.response["Error"]["Message"], status
    raise AssertionError("the call did not fail")
