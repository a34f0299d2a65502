"""Defines the options of a load test as frozen, bounded records like those of `tasks.run.options`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from tasks.run.errors import SettingsRefused
from tasks.run.options import MOST_WORKERS, Options
from tasks.scaling.traffic import Traffic

Mode = Literal["steady", "checked"]
Through = Literal["function", "endpoint", "both"]
Rate = Annotated[float, Field(gt=0.0, le=10_000.0)]


class SendingOptions(Options):
    """The requests to send: where, how fast and how long."""

    mode: Annotated[Mode, Field(description="Send at one rate, or measure, apply and check a scaling plan.")] = "steady"
    through: Annotated[Through, Field(description="The way that requests go.")] = "function"
    rate_per_second: Annotated[float, Field(gt=0.0, le=1_000_000.0, description="Requests a second (steady).")] = 10.0
    seconds: Annotated[float, Field(ge=1.0, le=3600.0, description="How long (steady).")] = 30.0
    processes: Annotated[int, Field(ge=1, le=64, description="Load generators that share the rate.")] = 1
    seed: Annotated[int, Field(description="Seed of the random arrivals.")] = 0


class ScalingOptions(Options):
    """The options of a scaling plan and its check, which only the mode `checked` uses."""

    traffic: Annotated[
        Traffic | None,
        Field(description="The traffic to carry; without it the demo's, on the embedded AWS only."),
    ] = None
    safety_factor: Annotated[
        float | None,
        Field(ge=0.05, le=0.95, description="The share of MAX_RPS to aim at; AWS advises 0.5 at first."),
    ] = None
    ladder_first_rps: Annotated[Rate | None, Field(description="The ladder's first rate.")] = None
    overrides: Annotated[
        Mapping[str, float], Field(description="Numbers of the plan that are set by hand, by name.")
    ] = {}
    remeasures: Annotated[bool, Field(description="Measure the capacity again.")] = True
    forces: Annotated[
        bool, Field(description="Apply and test a plan that cannot keep the limits of the traffic statement.")
    ] = False
    pace: Annotated[
        float, Field(ge=0.1, le=1.0, description="The share of the demo's traffic that fits this machine.")
    ] = 1.0


class LoadOptions(ScalingOptions, SendingOptions):
    """The options of a load test of a run's deployment."""


class PipelineLoadOptions(LoadOptions):
    """The options of the shorter load test at the end of a pipeline."""

    seconds: Annotated[float, Field(ge=1.0, le=3600.0, description="How long (steady).")] = 10.0


class WorkerOptions(Options):
    """The machines on EC2 that send the requests in place of this one; without `workers`, this machine sends them."""

    workers: Annotated[
        int,
        Field(
            ge=0, le=MOST_WORKERS, description="EC2 instances that send the requests, each by `--processes` processes."
        ),
    ] = 0
    worker_type: Annotated[
        str | None,
        Field(description="Their type; by default the first of a list that EC2 has.", examples=["c7i.xlarge"]),
    ] = None
    budget_usd: Annotated[
        float | None, Field(gt=0, le=1_000_000, description="USD. Workers that may cost more do not begin.")
    ] = None


def require_steady(load: LoadOptions, workers: WorkerOptions) -> None:
    """Return if no workers are asked for, or if they send at a set rate.

    Raises:
        SettingsRefused: workers are asked for in mode `checked`.
    """
    if workers.workers and load.mode != "steady":
        why = "a checked load test measures the noise of the machine that sends the requests, which is this one"
        raise SettingsRefused("loadtest", f"workers={workers.workers} in mode {load.mode}", why, "leave out --workers")
