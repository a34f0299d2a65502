"""The Price List Service on the wire: GetProducts with filters of TERM_MATCH or EQUALS; the rest is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from localaws.errors import AwsError
from localaws.paging import page_of
from localaws.permissions.operations import Operation
from localaws.pricing.products import products

NAME = "pricing"
PAGE = 100
FORMAT = "aws_v1"
_MATCHES = ("TERM_MATCH", "EQUALS")


def answer(operation: Operation) -> Response:
    """Return the answer to a request that may be made.

    Raises:
        AwsError: the operation or a filter is not emulated, or the service has no products.
    """
    if operation.name != "GetProducts":
        text = f"localaws does not emulate Price List {operation.name}."
        raise AwsError("UnsupportedOperation", text, status=501)
    content = json.dumps(_get_products(operation.parameters))
    return Response(content, media_type="application/x-amz-json-1.1")


def _get_products(asked: Mapping[str, Any]) -> dict[str, Any]:
    service, filters = asked["ServiceCode"], asked.get("Filters") or []
    if service not in products():
        raise AwsError("NotFoundException", f"localaws lists no products of the service {service}")
    found = [json.dumps(each) for each in products()[service] if all(_fits(each, wanted) for wanted in filters)]
    page, token = page_of(found, asked.get("NextToken"), min(asked.get("MaxResults") or PAGE, PAGE), service=NAME)
    return {"FormatVersion": FORMAT, "PriceList": page, **({"NextToken": token} if token else {})}


def _fits(product: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    if wanted["Type"] not in _MATCHES:
        raise AwsError("UnsupportedOperation", f"localaws does not emulate filters of {wanted['Type']}.", status=501)
    field = wanted["Field"]
    found = product["product"]["attributes"].get(field)
    return bool((product["serviceCode"] if field == "ServiceCode" else found) == wanted["Value"])
