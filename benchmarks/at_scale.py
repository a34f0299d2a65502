"""Print which limit binds first at 100 to 1,000,000 requests/s, and how long the fleet takes to absorb a tenfold jump.

`python -m benchmarks.at_scale [runs/<run id>]` prints the study of `benchmarks.simulation.limits` for the measurements
of a run that has a scaling plan. Without a run it uses assumed figures and says so. It sends no requests.
"""

import sys
import time
from pathlib import Path

from benchmarks.simulation.limits import bounds, study, study_markdown
from tasks.account.prices import PRICES_REGION
from tasks.run.handle import RunFolder
from tasks.run.machine import hardware
from tasks.scaling.plan import Limits, list_prices
from tasks.scaling.traffic import Figure, Measured, Traffic
from tasks.verdicts.check import ScalingVerdicts

ASSUMED = "assumed, not measured"


def main(arguments: list[str]) -> None:
    """Print the study."""
    plan = RunFolder(Path(arguments[0])).need(ScalingVerdicts).plan if arguments else None
    measured, traffic = (plan.measured, plan.traffic) if plan else (_assumed(), _traffic())
    prices = list_prices(measured.instance_type, PRICES_REGION)
    begun = time.perf_counter()
    rows = study(measured, prices, traffic)
    seconds = time.perf_counter() - begun
    print(study_markdown(rows, measured))
    for bound in bounds(measured, prices, traffic, limits=Limits(instances=20)):
        print(f"- {bound.name}: {bound.binds_at_rps:,.0f} requests/s = {bound.formula}; next: {bound.remedy}")
    source = "based on the run's measurements" if plan else f"the figures are {ASSUMED}; the quota is 20 instances"
    print(f"\nSimulated {len(rows)} rates × 240 minutes in {seconds:.3f} s on {hardware()}; {source}.")


def _traffic() -> Traffic:
    return Traffic(100, 1_000, 2_000, 1_800, 500, 0.01, 0.01, 100_000)


def _assumed() -> Measured:
    def figure(value: float) -> Figure:
        return Figure(value, 1, ASSUMED)

    return Measured(
        max_rps_per_instance=figure(200),
        service_p50_ms=figure(20),
        service_p95_ms=figure(40),
        function_mean_ms=figure(45),
        function_p50_ms=figure(40),
        function_p95_ms=figure(80),
        cold_start_ms=figure(300),
        instance_startup_seconds=figure(240),
        instance_type="ml.m5.large",
        function_memory_mb=256,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
