"""Prices of instances: from the price list, from what was kept of it, from the dated table, or unknown; never 0."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localaws.pricing.products import products
from tasks.account.price_list import find_prices
from tasks.account.price_table import TABLE, Item, Price
from tasks.run.aws import Aws
from tasks.run.settings import REAL_AWS, Settings
from tests.counting_proxy import Calls, Fault

TRAINING = Item("ml.m5.xlarge", "Training")
ASKED = "AWSPriceListService.GetProducts"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def aws_at(calls: Calls, home: Path, region: str = "us-east-1", *, is_billed: bool = False) -> Aws:
    aws = Aws(Settings(endpoint_url=calls.url, home=home, region=region))
    if is_billed:
        aws.account_id  # noqa: B018  the embedded AWS's key, before the target is said to be AWS
        aws.target = REAL_AWS.model_copy(update={"has_profile_credentials": False})
    return aws


def find(aws: Aws, items: Iterable[Item], *, now: datetime = NOW) -> dict[Item, Price]:
    return find_prices(aws, items, deadline_seconds=20.0, now=now)


def listed(*usd: str) -> tuple[int, bytes]:
    dimensions = {str(n): {"unit": "Hrs", "pricePerUnit": {"USD": each}} for n, each in enumerate(usd)}
    product = {"product": {}, "terms": {"OnDemand": {"a": {"priceDimensions": dimensions}}}}
    return 200, json.dumps({"PriceList": [json.dumps(product)]}).encode()


def test_the_embedded_awss_list_answers_and_is_marked_as_its_own(calls: Calls, tmp_path: Path) -> None:
    found = find(aws_at(calls, tmp_path), TABLE)
    assert {item: each.usd_per_hour for item, each in found.items()} == {
        item: each.usd_per_hour for item, each in TABLE.items()
    }
    marked = "2026-11-28, the embedded AWS's own table, not AWS's list for us-east-1"
    assert {each.source for each in found.values()} == {marked}
    assert not (tmp_path / "prices").exists()


def test_the_embedded_aws_lists_what_the_dated_table_has_and_no_more() -> None:
    assert sum(len(each) for each in products().values()) == len(TABLE)


def test_every_price_of_the_dated_table_has_its_date() -> None:
    for each in TABLE.values():
        assert datetime.fromisoformat(each.source.partition(",")[0]) < NOW.replace(tzinfo=None)
        assert each.usd_per_hour is not None and each.usd_per_hour > 0


@pytest.mark.parametrize(
    ("item", "region", "usd", "source"),
    [
        (TRAINING, "us-east-1", 0.23, "2026-09-24, AWS's bulk price list"),
        (TRAINING, "eu-west-1", None, "unknown: the dated table is of us-east-1"),
        (Item("ml.unheard.of", "Hosting"), "us-east-1", None, "unknown: the dated table has no price of it"),
    ],
)
def test_a_list_that_refuses_leaves_the_dated_price_and_says_why(
    calls: Calls, tmp_path: Path, item: Item, region: str, usd: float | None, source: str
) -> None:
    calls.faults.append(Fault(ASKED, instead=(400, b'{"__type": "AccessDeniedException", "message": "no"}')))
    found = find(aws_at(calls, tmp_path, region), [item])[item]
    assert found.usd_per_hour == usd
    assert found.source.startswith(source)
    assert found.source.endswith("did not answer: AccessDeniedException)")


def test_a_list_that_is_slow_is_not_waited_for(tmp_path: Path) -> None:
    nowhere = Aws(Settings(endpoint_url="http://127.0.0.1:1", home=tmp_path))
    found = find_prices(nowhere, [TRAINING], deadline_seconds=0.0)[TRAINING]
    assert (found.usd_per_hour, "not within 0 s" in found.source) == (0.23, True)


def test_what_is_not_listed_is_unknown_although_the_dated_table_has_it(calls: Calls, tmp_path: Path) -> None:
    calls.faults.append(Fault(ASKED, instead=(200, b'{"PriceList": []}')))
    found = find(aws_at(calls, tmp_path), [TRAINING])[TRAINING]
    assert found.usd_per_hour is None
    assert found.source.startswith("unknown: not listed")


def test_a_free_tiers_0_is_no_price_and_of_several_the_highest_counts(calls: Calls, tmp_path: Path) -> None:
    calls.faults.append(Fault(ASKED, instead=listed("0.0000000000", "0.2300000000", "0.2400000000")))
    assert find(aws_at(calls, tmp_path), [TRAINING])[TRAINING].usd_per_hour == 0.24


def test_other_partitions_are_unknown_and_not_asked_about(calls: Calls, tmp_path: Path) -> None:
    found = find(aws_at(calls, tmp_path, "cn-north-1"), [TRAINING])[TRAINING]
    assert (found.usd_per_hour, calls.seen) == (None, [])


def test_awss_own_prices_are_kept_for_a_day(calls: Calls, tmp_path: Path) -> None:
    aws = aws_at(calls, tmp_path, is_billed=True)
    first = find(aws, [TRAINING])
    assert first[TRAINING].source == "2026-11-28, AWS's price list for us-east-1"
    later = NOW + timedelta(hours=23)
    assert find(aws, [TRAINING], now=later) == first
    assert calls.seen.count(ASKED) == 1
    anew = find(aws, [TRAINING], now=NOW + timedelta(hours=25))
    assert anew[TRAINING].source.startswith("2026-11-29")
    assert calls.seen.count(ASKED) == 2


@pytest.mark.parametrize("content", [b"", b"{", b'{"Training ml.m5.xlarge": {"usd": 0, "asked": "2026-11-28T12:00Z"}}'])
def test_a_damaged_file_of_prices_is_not_used(calls: Calls, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "us-east-1.json").write_bytes(content)
    aws = aws_at(calls, tmp_path, is_billed=True)
    assert find(aws, [TRAINING])[TRAINING].usd_per_hour == 0.23
    assert calls.seen.count(ASKED) == 1
