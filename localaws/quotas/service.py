"""Service Quotas on the wire: lists and finds the account's quotas; increases are not emulated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from starlette.routing import BaseRoute

from localaws.core import Core
from localaws.errors import AwsError
from localaws.paging import page_of
from localaws.partition import partition
from localaws.quotas.account import Quota

PAGE = 100
SERVICES = {"ec2": "Amazon Elastic Compute Cloud (Amazon EC2)", "lambda": "AWS Lambda", "sagemaker": "Amazon SageMaker"}


def install(core: Core) -> list[BaseRoute]:
    """Have moto dispatch the operations that read."""
    from moto.servicequotas.responses import ServiceQuotasResponse

    quotas = core.quotas
    operations = {
        "list_service_quotas": _lister(quotas.of),
        "list_aws_default_service_quotas": _lister(quotas.defaults_of),
        "get_service_quota": _finder(quotas.of),
        "get_aws_default_service_quota": _finder(quotas.defaults_of),
    }
    for name, operation in operations.items():
        setattr(ServiceQuotasResponse, name, operation)
    return []


def _lister(find: Callable[[str], list[Quota]]) -> Callable[[Any], str]:
    def list_quotas(response: Any) -> str:
        asked = json.loads(response.body)
        rows = [_row(each, response) for each in _known(find, asked["ServiceCode"])]
        page, token = page_of(
            rows, asked.get("NextToken"), min(asked.get("MaxResults") or PAGE, PAGE), service="servicequotas"
        )
        return json.dumps({"Quotas": page, **({"NextToken": token} if token else {})})

    return list_quotas


def _finder(find: Callable[[str], list[Quota]]) -> Callable[[Any], str]:
    def get_quota(response: Any) -> str:
        asked = json.loads(response.body)
        for each in _known(find, asked["ServiceCode"]):
            if each.code == asked["QuotaCode"]:
                return json.dumps({"Quota": _row(each, response)})
        raise _missing(f"The request failed because the specified quota code does not exist: {asked['QuotaCode']}")

    return get_quota


def _known(find: Callable[[str], list[Quota]], service: str) -> Iterable[Quota]:
    if service not in SERVICES:
        raise _missing(f"The request failed because the specified service does not exist: {service}")
    return find(service)


def _missing(text: str) -> AwsError:
    return AwsError("NoSuchResourceException", text)


def _row(quota: Quota, response: Any) -> dict[str, Any]:
    arn = f"arn:{partition()}:servicequotas:{response.region}:{response.current_account}:{quota.service}/{quota.code}"
    return {
        "ServiceCode": quota.service,
        "ServiceName": SERVICES[quota.service],
        "QuotaArn": arn,
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": float(quota.value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
