"""moto's applications, one a service: a request goes to that of the service it was signed for.

moto's own dispatcher guesses the service from the path, the form, other headers and the query, and a region from the
address or the User-Agent. IAM decides on what was signed, so nothing else may tell who answers, and where.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from localaws.auth.verifier import Signed
from localaws.permissions.operations import RUNTIME

_MODULES = {  # of moto, by signing name where its own is another
    "application-autoscaling": "applicationautoscaling",
    "lambda": "awslambda",
    "monitoring": "cloudwatch",
    "tagging": "resourcegroupstaggingapi",
}
_DAY = "20000101"  # moto reads no day there


class MotoApps:
    """The applications by moto's names, each made at its first request; called from many threads."""

    def __init__(self, create: Callable[[Any], Any]) -> None:
        self._create = create
        self._lock = threading.Lock()
        self._apps: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        signed: Signed = environ["asgi.scope"]["localaws.signed"]
        if signed.service != "s3":
            environ["HTTP_AUTHORIZATION"] = _credential(signed)
        answer: Iterable[bytes] = self._app(_module(signed.service, environ["PATH_INFO"]))(environ, start_response)
        return answer

    def _app(self, module: str) -> Any:
        with self._lock:
            if module not in self._apps:
                self._apps[module] = self._create(module)
            return self._apps[module]


def take_signed_regions() -> None:
    """Have moto carry out each request in the region that was signed; without one (S3's version 2) in its default.

    S3, which has its own way, takes it from the signature in the header and never from the address.
    """
    import moto.core.responses as moto_responses
    import moto.s3.responses as moto_s3

    every: Any = moto_responses.BaseResponse
    s3: Any = moto_s3

    def signed_region(self: Any, request: Any, _: str) -> str:
        signed: Signed = request.environ["asgi.scope"]["localaws.signed"]
        return signed.region or str(self.default_region)

    every.get_region_from_url = signed_region
    s3.parse_region_from_url = lambda *_, **__: None


def forget_instances() -> None:
    """Have moto not keep each object that it ever made: it lists them for pages that are not served here."""
    from moto.core.common_models import BaseModel

    def make(cls: type[Any], *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    every: Any = BaseModel
    every.__new__ = make


def _module(service: str, path: str) -> str:
    if service == "sagemaker" and path.startswith(RUNTIME):
        return "sagemakerruntime"
    return _MODULES.get(service, service)


def _credential(signed: Signed) -> str:
    """Return the header in which moto looks for who asks; a query may name others beside who signed it."""
    scope = f"{signed.access_key_id}/{_DAY}/{signed.region}/{signed.service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
