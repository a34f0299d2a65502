"""The one HTTP front: own hot routes first, everything else to moto through WSGI."""

import json
import re
from typing import Any

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from localaws.buckets import wrong_owner
from localaws.core import Core

WSGI_THREADS = 32
SERVICES = frozenset(
    {
        "s3",
        "iam",
        "sts",
        "ec2",
        "ssm",
        "monitoring",
        "logs",
        "sagemaker",
        "lambda",
        "application-autoscaling",
        "tagging",
    }
)
_SCOPE = re.compile(r"Credential=[^/]*/\d*/[^/]*/([^/]+)/aws4_request")


def build_app(core: Core, routes: list[BaseRoute]) -> ASGIApp:
    """Return the ASGI application: health, the services' own `routes`, then moto for the services that are supported."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    moto = WSGIMiddleware(DomainDispatcherApplication(create_backend_app), workers=WSGI_THREADS)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "home": core.settings.owner})

    rest = Mount("/", app=MotoMount(moto, core))
    return Starlette(routes=[Route("/_localaws/health", health), *routes, rest])


class MotoMount:
    """moto, for the supported services only; buffered logs and metrics are delivered before they can be asked for."""

    def __init__(self, moto: Any, core: Core) -> None:
        self._moto = moto
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = signed_service(scope)
        if service is not None and service not in SERVICES:
            await _unsupported(service)(scope, receive, send)
            return
        if service == "monitoring":
            self._core.metrics.flush()
        refusal = wrong_owner(scope, self._core.settings.account_id) if service == "s3" else None
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._moto(scope, receive, send)


def signed_service(scope: Scope) -> str | None:
    """Return the service that a request is signed for (SigV4 header), or None when it carries no such signature."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            found = _SCOPE.search(value.decode("latin1"))
            return found.group(1) if found else None
    return None


def _unsupported(service: str) -> Response:
    message = f"localaws does not emulate the service {service!r}; it has: {', '.join(sorted(SERVICES))}."
    return Response(
        json.dumps({"__type": "UnsupportedOperation", "message": message, "Message": message}),
        status_code=501,
        headers={"x-amzn-errortype": "UnsupportedOperation"},
        media_type="application/x-amz-json-1.1",
    )
