"""Which EC2 types are tried, for which reason, and where their prices are from."""

import json
from pathlib import Path

import pytest

from tasks.ec2.prices import TABLE, TABLE_SOURCE, choose_instances, cost_usd, hourly_price, with_current_prices
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.settings import Settings
from tests.counting_proxy import Calls, Fault

LIST = "the embedded AWS's own table, not AWS's list"


def priced(usd: str) -> tuple[int, bytes]:
    """Return GetProducts' answer for one product, laid out as AWS does it."""
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": usd}, "description": "a type"}
    terms = {"OnDemand": {"S.J": {"priceDimensions": {"S.J.6": dimension}}}}
    product = {"product": {"attributes": {"instanceType": "a"}}, "terms": terms}
    return 200, json.dumps({"FormatVersion": "aws_v1", "PriceList": [json.dumps(product)]}).encode()


def test_a_frozen_backbone_needs_no_gpu_and_the_reason_says_so() -> None:
    chosen = choose_instances(finetune=False)
    assert not any(item.has_gpu for item in chosen.types)
    assert chosen.types[0].name == "c7i.xlarge"
    assert "AMX" in chosen.reason
    assert chosen.prices == TABLE_SOURCE
    assert "2026-07-20" in TABLE_SOURCE


def test_fine_tuning_takes_the_cheapest_type_with_a_gpu() -> None:
    first = choose_instances(finetune=True).types[0]
    prices = [item.usd_per_hour for item in TABLE.values() if item.has_gpu and item.usd_per_hour is not None]
    assert first.has_gpu and first.usd_per_hour == min(prices)


def test_a_type_that_the_user_names_has_no_fallback() -> None:
    chosen = choose_instances(finetune=False, requested="p5.48xlarge")
    assert [(item.name, item.has_gpu, item.usd_per_hour) for item in chosen.types] == [("p5.48xlarge", True, None)]


@pytest.mark.parametrize("name", ["ml.m5.xlarge", "large", "", "c5."])
def test_what_is_no_ec2_type_is_refused(name: str) -> None:
    with pytest.raises(SettingsRefused, match="EC2's types are spelt family"):
        choose_instances(finetune=False, requested=name)


def test_the_spot_market_is_tried_for_every_type_before_any_on_demand() -> None:
    chosen = choose_instances(finetune=False)
    offers = chosen.offers(spot=True)
    assert [offer.is_spot for offer in offers] == [True] * 5 + [False] * 5
    assert offers[0].label == "c7i.xlarge spot" and offers[5].label == "c7i.xlarge on-demand"
    assert offers[0].usd_per_hour == pytest.approx(0.42 * 0.1785, abs=1e-4)
    assert not any(offer.is_spot for offer in chosen.offers(spot=False))


def refusing(calls: Calls, times: int = 5) -> None:
    body = b'{"__type": "AccessDeniedException", "message": "no"}'
    calls.faults.append(Fault("AWSPriceListService.GetProducts", instead=(400, body), times=times))


def test_an_account_without_a_price_list_keeps_the_table_and_says_so(calls: Calls, tmp_path: Path) -> None:
    refusing(calls)
    aws = Aws(Settings(endpoint_url=calls.url, runs=tmp_path))
    chosen = choose_instances(finetune=False)
    found = with_current_prices(aws, chosen)
    assert found.types == chosen.types
    assert found.prices == f"{TABLE_SOURCE} ({LIST} did not answer: AccessDeniedException)"


def test_without_a_price_list_another_regions_prices_are_unknown(calls: Calls, tmp_path: Path) -> None:
    refusing(calls)
    aws = Aws(Settings(endpoint_url=calls.url, runs=tmp_path, region="eu-west-1"))
    found = with_current_prices(aws, choose_instances(finetune=False))
    assert {item.usd_per_hour for item in found.types} == {None}
    assert found.prices.startswith(f"unknown: the bundled list prices are us-east-1's ({LIST} did not answer")
    assert hourly_price("eu-west-1", "c7i.xlarge", (), is_spot=False) is None


def test_the_price_list_replaces_the_table_for_the_region_in_use(calls: Calls, tmp_path: Path) -> None:
    listed = Fault("AWSPriceListService.GetProducts", holding=b'"eu-west-1"', instead=priced("0.2040000000"))
    calls.faults.append(listed)
    aws = Aws(Settings(endpoint_url=calls.url, runs=tmp_path, region="eu-west-1"))
    found = with_current_prices(aws, choose_instances(finetune=False, requested="c7i.xlarge"))
    assert [item.usd_per_hour for item in found.types] == [0.204]
    assert found.prices.startswith(f"{LIST} for eu-west-1, Linux on-demand")


def test_a_type_that_the_list_lacks_has_no_price_rather_than_another_regions(calls: Calls, tmp_path: Path) -> None:
    calls.faults.append(Fault("AWSPriceListService.GetProducts", instead=(200, b'{"PriceList": []}')))
    aws = Aws(Settings(endpoint_url=calls.url, runs=tmp_path))
    found = with_current_prices(aws, choose_instances(finetune=False, requested="c7i.xlarge"))
    assert found.types[0].usd_per_hour is None
    assert found.prices.endswith("; not listed: c7i.xlarge")


@pytest.mark.parametrize("product", ["{", "[1]", '{"terms": {"OnDemand": {"a": 1}}}', "{}"])
def test_a_list_that_cannot_be_read_leaves_the_tables_prices(calls: Calls, tmp_path: Path, product: str) -> None:
    listed = json.dumps({"PriceList": [product]}).encode()
    calls.faults.append(Fault("AWSPriceListService.GetProducts", instead=(200, listed)))
    chosen = choose_instances(finetune=False, requested="c7i.xlarge")
    found = with_current_prices(Aws(Settings(endpoint_url=calls.url, runs=tmp_path)), chosen)
    assert found.types == chosen.types
    assert found.prices.endswith(f"({LIST} did not answer: UnreadablePrice)")


def test_costs_begin_at_a_minute_and_are_unknown_without_a_price() -> None:
    assert cost_usd(0.36, 1.0) == pytest.approx(0.006)
    assert cost_usd(0.36, 3600.0) == pytest.approx(0.36)
    assert cost_usd(None, 3600.0) is None


def test_an_instance_that_was_found_is_priced_by_its_offer_else_by_the_table() -> None:
    offers = choose_instances(finetune=False, requested="p5.48xlarge").offers(spot=False)
    assert hourly_price("us-east-1", "p5.48xlarge", offers, is_spot=False) is None
    assert hourly_price("us-east-1", "c7i.xlarge", (), is_spot=True) == pytest.approx(0.075, abs=1e-3)
    assert hourly_price("us-east-1", "unheard.of", (), is_spot=False) is None
