"""Asks AWS's Price List API for on-demand prices of instances; on real AWS they are kept in kennel's home for a day.

The API answers for the regions of the partition aws (https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/
using-price-list-query-api.html). SageMaker's products are found by regionCode, instanceName and component. What it
does not answer in time is taken from the dated table (`tasks.account.price_table`), or is unknown. Nothing is changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tasks.account.price_table import Item, Price, dated_price
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, DiskFailed, error_code
from tasks.run.partitions import partition_of
from tasks.run.record_store import write_atomically
from tasks.run.sealed import Damaged, parse_json, read_regular, seal, unseal

DEADLINE_SECONDS = 1.0
KEPT = timedelta(days=1)
_LINUX = {
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


class UnreadablePrice(Exception):
    """A product of the price list is not described as it used to be."""


@dataclass(frozen=True)
class _Answer:
    """What was asked: a price, None for what is not listed; or why there was no answer."""

    usd_per_hour: float | None
    failure: str = ""


def list_name(aws: Aws) -> str:
    """Return whose price list answers: the embedded AWS has a table of its own."""
    return "AWS's price list" if aws.target.is_billed else "the embedded AWS's own table, not AWS's list"


def find_prices(
    aws: Aws, items: Iterable[Item], *, deadline_seconds: float = DEADLINE_SECONDS, now: datetime | None = None
) -> dict[Item, Price]:
    """Return the price of each item in the region in use; no failure raises, because nothing depends on a price.

    The items are asked for at the same time, each in a thread that ends with the process.
    """
    wanted, asked_at = list(dict.fromkeys(items)), now or datetime.now(UTC)
    if partition_of(aws.region) != "aws":
        return {item: Price(None, "unknown: AWS's price list has the partition aws only") for item in wanted}
    found = _kept(aws, wanted, asked_at) if aws.target.is_billed else {}
    answers = _ask(aws, [item for item in wanted if item not in found], deadline_seconds)
    found |= {item: _priced(aws, item, answer, asked_at) for item, answer in answers.items()}
    if aws.target.is_billed:
        _keep(aws, {item: each.usd_per_hour for item, each in answers.items() if not each.failure}, asked_at)
    return found


def listed_price(aws: Aws, item: Item) -> float | None:
    """Return the listed on-demand price in USD an hour, None when it is not listed; of several the highest.

    EC2's is for Linux on shared hardware, without a licence.

    Raises:
        UnreadablePrice: a product is not described as it used to be.
        ClientError, BotoCoreError: the API refused, or did not answer.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    service, wanted = _product(item, aws.region)
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    pages = aws.client("pricing").get_paginator("get_products").paginate(ServiceCode=service, Filters=filters)
    texts = [text for page in pages for text in page["PriceList"]]
    try:
        return max(_hourly_prices([parse_json(text) for text in texts]), default=None)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnreadablePrice from error


def _product(item: Item, region: str) -> tuple[str, dict[str, str]]:
    """Return the service's code and the attributes by which its list has the item."""
    if item.use == "EC2":
        return "AmazonEC2", {"instanceType": item.instance_type, "regionCode": region, **_LINUX}
    return "AmazonSageMaker", {"instanceName": item.instance_type, "component": item.use, "regionCode": region}


def _hourly_prices(products: Sequence[Mapping[str, Any]]) -> list[float]:
    dimensions = [
        dimension
        for product in products
        for term in product["terms"].get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] == "Hrs"
    ]
    usd = [float(dimension["pricePerUnit"].get("USD", 0)) for dimension in dimensions]
    return [price for price in usd if 0 < price < float("inf")]


def _priced(aws: Aws, item: Item, answer: _Answer, asked_at: datetime) -> Price:
    if answer.failure:
        dated = dated_price(item, aws.region)
        return Price(dated.usd_per_hour, f"{dated.source} ({list_name(aws)} did not answer: {answer.failure})")
    day = f"{asked_at.date().isoformat()}, {list_name(aws)} for {aws.region}"
    is_listed = answer.usd_per_hour is not None
    return Price(answer.usd_per_hour, day if is_listed else f"unknown: not listed ({day})")


def _ask(aws: Aws, items: Sequence[Item], deadline_seconds: float) -> dict[Item, _Answer]:
    futures = {item: _begin(aws, item) for item in items}
    wait(futures.values(), deadline_seconds)
    late = _Answer(None, f"not within {deadline_seconds:g} s")
    return {item: future.result() if future.done() else late for item, future in futures.items()}


def _begin(aws: Aws, item: Item) -> Future[_Answer]:
    future: Future[_Answer] = Future()
    threading.Thread(target=lambda: future.set_result(_answer(aws, item)), name="price", daemon=True).start()
    return future


def _answer(aws: Aws, item: Item) -> _Answer:
    try:
        return _Answer(listed_price(aws, item))
    except ClientError as error:
        return _Answer(None, error_code(error))
    except (AwsFailed, BotoCoreError, UnreadablePrice) as error:
        return _Answer(None, type(error).__name__)
    except Exception as error:  # noqa: BLE001  the thread's caller waits for an answer
        return _Answer(None, repr(error))


# --- kept for a day ---------------------------------------------------------------------------------------------------


def _kept(aws: Aws, items: Sequence[Item], now: datetime) -> dict[Item, Price]:
    found, rows = {}, _rows(aws)
    for item in items:
        row = rows.get(_key(item))
        if row is None or not timedelta(0) <= now - datetime.fromisoformat(row["asked"]) < KEPT:
            continue
        found[item] = _priced(aws, item, _Answer(row["usd"]), datetime.fromisoformat(row["asked"]))
    return found


def _keep(aws: Aws, prices: Mapping[Item, float | None], asked_at: datetime) -> None:
    if not prices:
        return
    new = {_key(item): {"usd": usd, "asked": asked_at.isoformat()} for item, usd in prices.items()}
    try:
        write_atomically(_path(aws), seal({**_rows(aws), **new}, indent=1))
    except DiskFailed:
        return  # they are asked for again


def _rows(aws: Aws) -> dict[str, Any]:
    """Return what was kept; nothing when there is no file, or when it is damaged."""
    try:
        rows = unseal(read_regular(_path(aws)))
        return rows if all(_is_row(row) for row in rows.values()) else {}
    except (OSError, Damaged):
        return {}


def _is_row(row: Any) -> bool:
    try:
        usd = row["usd"]
        return datetime.fromisoformat(row["asked"]).tzinfo is not None and (usd is None or usd > 0)
    except (LookupError, TypeError, ValueError):
        return False


def _key(item: Item) -> str:
    return f"{item.use} {item.instance_type}"


def _path(aws: Aws) -> Path:
    return aws.settings.home / "prices" / f"{aws.region}.json"
