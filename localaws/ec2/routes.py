"""localaws's own routes for EC2: faults that a test asks for, and the caller's address.

- `POST /_localaws/instances/{id}/interrupt`: interrupt a spot instance, with its two minutes' notice;
- `POST /_localaws/capacity?type=c5.xlarge&market=spot&available=0`: let n more instances of a type be started
  (`available=unlimited`: any number again; `market=on-demand` is the default);
- `POST /_localaws/launch-failures?type=c5.xlarge&count=1`: make the next n instances of a type fail at launch;
- `GET /_localaws/caller-address`: the answer of https://checkip.amazonaws.com on AWS.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from localaws.auth.routes import OpenRoute
from localaws.core import Core
from localaws.ec2.capacity import MARKETS, Capacity, Pool
from localaws.errors import AwsError


def routes(core: Core, capacity: Capacity) -> list[BaseRoute]:
    """Return the routes, which have to come before moto's."""

    def interrupt(request: Request) -> Response:
        return _interrupt(core, request.path_params["id"])

    def limit(request: Request) -> Response:
        return _limit(capacity, request.query_params)

    def fail(request: Request) -> Response:
        return _fail(capacity, request.query_params)

    return [
        Route("/_localaws/launch-failures", fail, methods=["POST"]),
        Route("/_localaws/instances/{id}/interrupt", interrupt, methods=["POST"]),
        Route("/_localaws/capacity", limit, methods=["POST"]),
        OpenRoute("/_localaws/caller-address", _caller_address),
    ]


def _caller_address(request: Request) -> Response:
    return PlainTextResponse(f"{request.client.host if request.client else '127.0.0.1'}\n")


def _interrupt(core: Core, instance_id: str) -> Response:
    core.prepare("ec2")
    from moto.ec2.models import ec2_backends

    backend = ec2_backends[core.settings.account_id][core.settings.region]
    try:
        (instance,) = backend.find([instance_id])  # type: ignore[attr-defined]
        if not instance.is_spot:
            return JSONResponse({"message": f"The instance {instance_id!r} does not run on spot capacity."}, 409)
        moment = instance.interrupt()
    except AwsError as error:
        return JSONResponse({"message": error.message}, 409 if error.code == "IncorrectInstanceState" else 404)
    return JSONResponse({"instance": instance_id, "action": "terminate", "time": moment.isoformat()}, 202)


def _fail(capacity: Capacity, query: Mapping[str, str]) -> Response:
    instance_type, count = query.get("type", ""), query.get("count", "1")
    if not instance_type or not count.isdecimal():
        return JSONResponse({"message": f"The query must say type=TYPE, count=a number; it says {dict(query)}."}, 400)
    capacity.fail_launches(instance_type, int(count))
    return JSONResponse({"type": instance_type, "count": int(count)})


def _limit(capacity: Capacity, query: Mapping[str, str]) -> Response:
    wanted = dict(query)
    instance_type, market = wanted.get("type", ""), wanted.get("market", "on-demand")
    available = wanted.get("available", "")
    if not instance_type or market not in MARKETS or not (available.isdecimal() or available == "unlimited"):
        usage = "type=TYPE, market=on-demand or spot, available=a number or unlimited"
        return JSONResponse({"message": f"The query must say {usage}; it says {wanted}."}, 400)
    number = None if available == "unlimited" else int(available)
    capacity.limit(Pool(instance_type, market), number)
    return JSONResponse({"type": instance_type, "market": market, "available": available})
