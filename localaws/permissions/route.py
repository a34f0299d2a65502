"""`GET /_localaws/permissions`: the record of who asked for what, for those with the server's token."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localaws.auth.routes import PREFIX
from localaws.permissions.authority import Authority
from localaws.permissions.usage import Requested, Use

PATH = PREFIX + "permissions"


def record_route(authority: Authority) -> Route:
    """Return the route. `?owner=ARN`, as often as wanted, limits the answer to these roles and users."""

    async def answer(request: Request) -> Response:
        owners = request.query_params.getlist("owner") or authority.usage.owners()
        return JSONResponse({"mode": authority.mode, "owners": {each: _of(authority, each) for each in owners}})

    return Route(PATH, answer, methods=["GET"])


def _of(authority: Authority, owner_arn: str) -> Mapping[str, Any]:
    uses, requests = authority.usage.of(owner_arn), authority.usage.requests_of(owner_arn)
    return {
        "uses": {action: _use(use) for action, use in uses.items()},
        "requests": [{**_requested(each), "count": count} for each, count in requests.items()],
    }


def _use(use: Use) -> Mapping[str, Any]:
    last = use.last
    return {
        "allowed": use.allowed,
        "denied": use.denied,
        "last": last.at.isoformat(timespec="seconds"),
        "region": last.region,
    }


def _requested(each: Requested) -> Mapping[str, Any]:
    context = {key: list(values) for key, values in each.context if values is not None}
    return {"action": each.action, "resource": each.resource, "context": context}
