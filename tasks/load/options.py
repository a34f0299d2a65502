"""What a person may choose for a load test: a frozen, bounded record like those of `tasks.run.options`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from tasks.run.options import Options
from tasks.scaling.traffic import Traffic

Mode = Literal["steady", "checked"]
Through = Literal["function", "endpoint", "both"]
Rate = Annotated[float, Field(gt=0.0, le=10_000.0)]


class SendingOptions(Options):
    """What is sent, where and how."""

    mode: Annotated[
        Mode, Field(description="One rate, or a scaling plan: measured, derived, applied, put to the test.")
    ] = "steady"
    through: Annotated[Through, Field(description="Which way requests go.")] = "function"
    rate_per_second: Annotated[Rate, Field(description="Requests a second (steady).")] = 10.0
    seconds: Annotated[float, Field(ge=1.0, le=3600.0, description="How long (steady).")] = 30.0
    processes: Annotated[int, Field(ge=1, le=64, description="Load generators that share the rate.")] = 1
    seed: Annotated[int, Field(description="Of the arrivals.")] = 0


class ScalingOptions(Options):
    """What a scaling plan is derived from and held against; only the mode `checked` looks at it."""

    traffic: Annotated[
        Traffic | None,
        Field(description="What the deployment has to carry; none is the demo's, on the embedded AWS only."),
    ] = None
    safety_factor: Annotated[
        float | None,
        Field(ge=0.05, le=0.95, description="The share of MAX_RPS that is aimed at; AWS: start at 0.5."),
    ] = None
    ladder_first_rps: Annotated[Rate | None, Field(description="The ladder's first rate.")] = None
    overrides: Annotated[
        Mapping[str, float], Field(description="Numbers of the plan by name, by hand, to be judged.")
    ] = {}
    remeasures: Annotated[bool, Field(description="Climb the ladder anew.")] = True
    pace: Annotated[
        float, Field(ge=0.1, le=1.0, description="The share of the demo's traffic that fits this machine.")
    ] = 1.0


class LoadOptions(ScalingOptions, SendingOptions):
    """A load test of what a run deployed."""


class PipelineLoadOptions(LoadOptions):
    """The load test that ends a pipeline: a shorter one."""

    seconds: Annotated[float, Field(ge=1.0, le=3600.0, description="How long (steady).")] = 10.0
