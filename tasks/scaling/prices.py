"""Computes a plan's monthly cost from list prices of the endpoint's instances and of Lambda. Nothing here calls AWS.

It does not cover data transfer, SageMaker's price for data in and out, logs, metrics, the free tier or savings plans.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.account.prices import PRICES_REGION, PRICES_SOURCE, usd_per_hour

HOURS_A_MONTH = 730.0
SECONDS_A_MONTH = HOURS_A_MONTH * 3600.0
LAMBDA_SOURCE = f"aws.amazon.com/lambda/pricing, x86, {PRICES_REGION}, first tier, 2026-09-27"


@dataclass(frozen=True)
class Prices:
    """Prices in USD by unit, of which each may be unknown (None); costs are then None."""

    instance_usd_per_hour: float | None
    requests_usd_per_million: float | None = 0.20
    on_demand_usd_per_gb_second: float | None = 0.0000166667
    provisioned_usd_per_gb_second: float | None = 0.0000041667
    provisioned_use_usd_per_gb_second: float | None = 0.0000097222
    source: str = f"{PRICES_SOURCE}; {LAMBDA_SOURCE}"

    def instances(self, count: float) -> float | None:
        """Return the monthly cost of `count` instances on average."""
        return None if self.instance_usd_per_hour is None else count * HOURS_A_MONTH * self.instance_usd_per_hour

    def provisioned(self, executions: int, memory_mb: int) -> float | None:
        """Return the monthly cost of that much provisioned concurrency, without its invocations."""
        price = self.provisioned_usd_per_gb_second
        return None if price is None else executions * memory_mb / 1024 * SECONDS_A_MONTH * price

    def invocations(self, rps: float, mean_seconds: float, memory_mb: int, *, spilled: float) -> float | None:
        """Return the monthly cost of the invocations. The share `spilled` runs outside provisioned environments."""
        each = self.requests_usd_per_million
        on_demand, provisioned = self.on_demand_usd_per_gb_second, self.provisioned_use_usd_per_gb_second
        if each is None or on_demand is None or provisioned is None:
            return None
        requests = rps * SECONDS_A_MONTH
        gb_seconds = requests * mean_seconds * memory_mb / 1024
        return requests * each / 1e6 + gb_seconds * (spilled * on_demand + (1 - spilled) * provisioned)


def list_prices(instance_type: str, region: str) -> Prices:
    """Return the list prices for an endpoint on an instance type in a region; what is not known there is None."""
    if region == PRICES_REGION:
        return Prices(usd_per_hour(instance_type, region, "Hosting"))
    return Prices(None, None, None, None, None, f"unknown in {region}: the bundled list prices are {PRICES_REGION}'s")
