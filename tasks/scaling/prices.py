"""Computes a plan's monthly cost from list prices of the endpoint's instances and of Lambda. Nothing here calls AWS.

It does not cover data transfer, SageMaker's price for data in and out, logs, metrics, the free tier or savings plans.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.account.prices import PRICES_SOURCE, USD_PER_HOUR

HOURS_A_MONTH = 730.0
SECONDS_A_MONTH = HOURS_A_MONTH * 3600.0
LAMBDA_SOURCE = "aws.amazon.com/lambda/pricing, x86, us-east-1, first tier, list prices of 2025"


@dataclass(frozen=True)
class Prices:
    """Prices in USD by unit. `instance_usd_per_hour` is None for a type without a known price; costs are then None."""

    instance_usd_per_hour: float | None
    requests_usd_per_million: float = 0.20
    on_demand_usd_per_gb_second: float = 0.0000166667
    provisioned_usd_per_gb_second: float = 0.0000041667
    provisioned_use_usd_per_gb_second: float = 0.0000097222
    source: str = f"{PRICES_SOURCE}; {LAMBDA_SOURCE}"

    def instances(self, count: float) -> float | None:
        """Return the monthly cost of `count` instances on average."""
        return None if self.instance_usd_per_hour is None else count * HOURS_A_MONTH * self.instance_usd_per_hour

    def provisioned(self, executions: int, memory_mb: int) -> float:
        """Return the monthly cost of that much provisioned concurrency, without its invocations."""
        return executions * memory_mb / 1024 * SECONDS_A_MONTH * self.provisioned_usd_per_gb_second

    def invocations(self, rps: float, mean_seconds: float, memory_mb: int, *, spilled: float) -> float:
        """Return the monthly cost of the invocations. The share `spilled` runs outside provisioned environments."""
        requests = rps * SECONDS_A_MONTH
        gb_seconds = requests * mean_seconds * memory_mb / 1024
        price = spilled * self.on_demand_usd_per_gb_second + (1 - spilled) * self.provisioned_use_usd_per_gb_second
        return requests * self.requests_usd_per_million / 1e6 + gb_seconds * price


def list_prices(instance_type: str) -> Prices:
    """Return the list prices for an endpoint on an instance type, whose own price is None when it is not known."""
    return Prices(USD_PER_HOUR.get(instance_type))
