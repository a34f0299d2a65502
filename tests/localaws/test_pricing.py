"""GetProducts, from localaws's own table, in the shape of AWS's price list."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws

M5 = {"regionCode": "us-east-1", "instanceName": "ml.m5.xlarge", "component": "Training"}


def listed(localaws: RunningLocalAws, service: str, wanted: dict[str, str], kind: str = "TERM_MATCH") -> list[Any]:
    filters = [{"Type": kind, "Field": field, "Value": value} for field, value in wanted.items()]
    answer = localaws.client("pricing").get_products(ServiceCode=service, Filters=filters)
    return [json.loads(each) for each in answer["PriceList"]]


def test_a_product_has_awss_shape_and_says_whose_table_it_is_from(localaws: RunningLocalAws) -> None:
    [product] = listed(localaws, "AmazonSageMaker", M5)
    assert product["product"]["attributes"] == {**M5, "servicecode": "AmazonSageMaker"}
    [term] = product["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    assert (dimension["unit"], float(dimension["pricePerUnit"]["USD"])) == ("Hrs", 0.23)
    assert dimension["description"].startswith("localaws's own table, not AWS's list")


def test_each_filter_narrows_the_list(localaws: RunningLocalAws) -> None:
    assert len(listed(localaws, "AmazonSageMaker", {"instanceName": "ml.m5.xlarge"}, "EQUALS")) == 3
    assert listed(localaws, "AmazonSageMaker", {**M5, "regionCode": "eu-west-1"}) == []
    assert len(listed(localaws, "AmazonEC2", {"instanceType": "c7i.xlarge", "operatingSystem": "Linux"})) == 1
    assert listed(localaws, "AmazonEC2", {"instanceType": "c7i.xlarge", "tenancy": "Dedicated"}) == []


def test_a_list_comes_in_pages(localaws: RunningLocalAws) -> None:
    pages = localaws.client("pricing").get_paginator("get_products")
    found = list(pages.paginate(ServiceCode="AmazonEC2", PaginationConfig={"PageSize": 4}))
    assert len(found) > 2
    assert sum(len(page["PriceList"]) for page in found) == len(listed(localaws, "AmazonEC2", {}))


def test_what_is_not_emulated_is_refused_by_name(localaws: RunningLocalAws) -> None:
    pricing = localaws.client("pricing")
    with pytest.raises(ClientError, match=r"UnsupportedOperation.*Price List DescribeServices"):
        pricing.describe_services()
    with pytest.raises(ClientError, match=r"UnsupportedOperation.*ANY_OF"):
        listed(localaws, "AmazonEC2", {"instanceType": "c7i.xlarge"}, "ANY_OF")
    with pytest.raises(ClientError, match=r"NotFoundException.*AmazonFoo"):
        pricing.get_products(ServiceCode="AmazonFoo")
    with pytest.raises(ClientError, match=r"InvalidNextTokenException"):
        pricing.get_products(ServiceCode="AmazonEC2", NextToken="x")
