"""Requests to function URLs, signed or not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.keys import for_boto3
from tests.localaws.auth.wire import Answer, send
from tests.localaws.functions.functions_kit import Functions

ECHO = """
def handler(event, context):
    return event
"""


@dataclass(frozen=True)
class Url:
    """A function's URL. Its host name is sent in the Host header, because not every resolver knows `*.localhost`."""

    function: str
    address: str

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def send(
        self, target: str = "/", method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request without a signature."""
        port = urlsplit(self.address).port
        return send(f"http://127.0.0.1:{port}", method, target, {"Host": self.host, **(headers or {})}, body)

    def signed(
        self, target: str = "/", method: str = "POST", body: bytes = b"", keys: Mapping[str, Any] | None = None
    ) -> Answer:
        """Send a request that is signed for Lambda."""
        return self.send(target, method, body, self.signature(target, method, body, keys))

    def signature(
        self,
        target: str,
        method: str,
        body: bytes,
        keys: Mapping[str, Any] | None = None,
        *,
        service: str = "lambda",
    ) -> dict[str, str]:
        """Return the headers that sign a request."""
        given = {**(keys or for_boto3())}
        credentials = Credentials(
            given["aws_access_key_id"], given["aws_secret_access_key"], given.get("aws_session_token") or None
        )
        request = AWSRequest(method, f"http://{self.host}{target}", {"Host": self.host}, body)
        SigV4Auth(credentials, service, "us-east-1").add_auth(request)
        return {name: str(value) for name, value in request.headers.items() if name != "Host"}


def make_url(functions: Functions, source: str = ECHO, auth_type: str = "NONE", **config: Any) -> Url:
    """Make a function with a URL; one without authentication is open to everyone."""
    name = functions.make(source)
    made = functions.aws.create_function_url_config(FunctionName=name, AuthType=auth_type, **config)
    if auth_type == "NONE":
        open_url(functions, name)
    return Url(name, made["FunctionUrl"])


def open_url(functions: Functions, name: str, **more: Any) -> None:
    """Let everyone call a function's URL, by both statements that AWS asks for."""
    given = {"FunctionName": name, "Principal": "*", **more}
    functions.aws.add_permission(
        StatementId="url", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE", **given
    )
    functions.aws.add_permission(
        StatementId="invoke", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True, **given
    )


def event_in(answer: Answer) -> Any:
    """Return the event that an echoing function got."""
    assert answer.status == 200, answer
    return json.loads(answer.body)
