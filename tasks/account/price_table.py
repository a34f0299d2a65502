"""Holds prices of an instance hour with the date and the source of each, for when AWS's price list does not answer.

All are on-demand prices in USD of us-east-1; in every other region a price is unknown. SageMaker's are never derived
from EC2's: they differ by the use of the instance, and what was not found is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

REGION = "us-east-1"
Use = Literal["EC2", "Training", "Hosting", "Notebook"]
"""What an instance is for; SageMaker's price list calls it the component."""


@dataclass(frozen=True)
class Item:
    """An instance type for a use; the two determine its price in a region."""

    instance_type: str
    use: Use


@dataclass(frozen=True)
class Price:
    """A price of an instance hour in USD, None when it is unknown, and where it is from, with the date."""

    usd_per_hour: float | None
    source: str


_KARPENTER = (
    "2026-07-20, Karpenter's generated table (github.com/aws/karpenter-provider-aws, Apache-2.0, "
    "pkg/providers/pricing/zz_generated.pricing_aws.go)"
)
_BULK = "2026-09-24, AWS's bulk price list (offer AmazonSageMaker), as published in a public repository"
_QUERIED = "as read from AWS's Price List API and published in a public repository"

_EC2 = {
    "c7i.xlarge": 0.1785,
    "c7i.2xlarge": 0.357,
    "c6i.xlarge": 0.17,
    "c6i.2xlarge": 0.34,
    "c5.xlarge": 0.17,
    "c5.2xlarge": 0.34,
    "m7i.xlarge": 0.2016,
    "m5.large": 0.096,
    "m5.xlarge": 0.192,
    "m5.2xlarge": 0.384,
    "g4dn.xlarge": 0.526,
    "g4dn.2xlarge": 0.752,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g6.xlarge": 0.8048,
}
_SAGEMAKER: tuple[tuple[Use, str, float, str], ...] = (
    ("Training", "ml.m5.large", 0.115, f"2026-08-11, {_QUERIED}"),
    ("Training", "ml.m5.xlarge", 0.23, _BULK),
    ("Training", "ml.g4dn.xlarge", 0.736, _BULK),
    ("Training", "ml.g5.xlarge", 1.408, _BULK),
    ("Training", "ml.g5.2xlarge", 1.515, f"2026-08-20, {_QUERIED}"),
    ("Hosting", "ml.m5.large", 0.115, f"2026-07-30, {_QUERIED}"),
    ("Hosting", "ml.m5.xlarge", 0.23, f"2026-09-28, {_QUERIED}"),
    ("Hosting", "ml.m5.2xlarge", 0.461, f"2026-09-28, {_QUERIED}"),
    ("Notebook", "ml.t3.medium", 0.05, _BULK),
    ("Notebook", "ml.m5.xlarge", 0.23, _BULK),
    ("Notebook", "ml.g4dn.xlarge", 0.736, _BULK),
    ("Notebook", "ml.g5.xlarge", 1.41, _BULK),
)
TABLE: Mapping[Item, Price] = {
    **{Item(name, "EC2"): Price(usd, _KARPENTER) for name, usd in _EC2.items()},
    **{Item(name, use): Price(usd, source) for use, name, usd, source in _SAGEMAKER},
}
"""EC2's are for Linux on shared hardware. Each `source` begins with the date on which the price held."""


def dated_price(item: Item, region: str) -> Price:
    """Return the table's price of an item in a region, which is unknown outside the table's."""
    if region != REGION:
        return Price(None, f"unknown: the dated table is of {REGION}")
    return TABLE.get(item) or Price(None, "unknown: the dated table has no price of it")
