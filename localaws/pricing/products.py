"""The products that localaws lists, in the shape of AWS's price list; a publisher's note says whose table it is.

The shape is that of https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

PUBLISHED = "2026-11-28T00:00:00Z"
_LINUX = {
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


@functools.cache
def products() -> dict[str, list[dict[str, Any]]]:
    """Return the products of each service, by the service's code."""
    table = json.loads(Path(__file__).with_name("prices.json").read_text())
    ec2 = [_ec2(table, name, usd) for name, usd in table["AmazonEC2"].items()]
    ml = [
        _sagemaker(table, component, name, usd)
        for component, prices in table["AmazonSageMaker"].items()
        for name, usd in prices.items()
    ]
    return {"AmazonEC2": ec2, "AmazonSageMaker": ml}


def _ec2(table: dict[str, Any], name: str, usd: float) -> dict[str, Any]:
    attributes = {"instanceType": name, "regionCode": table["region"], **_LINUX}
    return _product(table["source"], "AmazonEC2", "Compute Instance", attributes, usd)


def _sagemaker(table: dict[str, Any], component: str, name: str, usd: float) -> dict[str, Any]:
    attributes = {"instanceName": name, "component": component, "regionCode": table["region"]}
    return _product(table["source"], "AmazonSageMaker", "ML Instance", attributes, usd)


def _product(source: str, service: str, family: str, attributes: dict[str, str], usd: float) -> dict[str, Any]:
    sku = hashlib.sha256(repr((service, attributes)).encode()).hexdigest()[:16].upper()
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": f"{usd:.10f}"}, "description": source, "beginRange": "0"}
    term = {"sku": sku, "effectiveDate": PUBLISHED, "priceDimensions": {f"{sku}.LOCALAWS.HRS": dimension}}
    return {
        "product": {"sku": sku, "productFamily": family, "attributes": {**attributes, "servicecode": service}},
        "serviceCode": service,
        "terms": {"OnDemand": {f"{sku}.LOCALAWS": term}},
        "version": "localaws",
        "publicationDate": PUBLISHED,
    }
