"""Tests that the endpoint comes to rest before a plan is applied, because an alarm evaluates the minutes before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tasks.run.errors import WaitTimedOut
from tasks.run.records import EndpointRef
from tasks.run.settings import EMBEDDED_AWS, Settings
from tasks.verdicts.rest import bring_to_rest
from tests.scripted import Scripted

ENDPOINT = EndpointRef("e", "arn", "c", "m", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0)
VARIANT = {"VariantName": "AllTraffic", "CurrentInstanceCount": 1, "DesiredInstanceCount": 1}


class Loaded(Scripted):
    """A fake AWS with an endpoint of one instance, whose busiest minute is each of the given values in turn."""

    def __init__(self, sums: Iterator[float], *, time_scale: float = 600.0, is_registered: bool = False) -> None:
        self.settings = Settings(time_scale=time_scale, clock_origin=time.time())
        self.asked: list[Mapping[str, Any]] = []
        targets = [{"MinCapacity": 1, "MaxCapacity": 3, "SuspendedState": {}}] if is_registered else []
        services: dict[str, Mapping[str, Callable[..., Any]]] = {
            "sagemaker": {
                "describe_endpoint": lambda **_: {"EndpointStatus": "InService", "ProductionVariants": [VARIANT]}
            },
            "application-autoscaling": {
                "describe_scalable_targets": lambda **_: {"ScalableTargets": targets},
                "register_scalable_target": self._register,
            },
            "cloudwatch": {"get_metric_statistics": lambda **_: {"Datapoints": [{"Sum": next(sums)}]}},
        }
        super().__init__(**services)

    def _register(self, **asked: Any) -> dict[str, str]:
        self.asked.append(asked)
        return {}


def test_it_waits_until_no_recent_minute_is_above_the_target() -> None:
    sums = iter([90.0, 40.0, 11.0, 10.0, 99.0])
    bring_to_rest(Loaded(sums).aws, ENDPOINT, minimum=1, target=10.0, photo=b"photo")
    assert next(sums) == 99.0


def test_what_scales_already_is_suspended_first() -> None:
    loaded = Loaded(iter([0.0]), is_registered=True)
    bring_to_rest(loaded.aws, ENDPOINT, minimum=1, target=10.0, photo=b"photo")
    (asked,) = loaded.asked
    assert set(asked["SuspendedState"].values()) == {True}
    assert loaded.calls.index("register_scalable_target") < loaded.calls.index("get_metric_statistics")


LATE = EMBEDDED_AWS.model_copy(update={"metric_lag_seconds": 180.0})


class Late(Loaded):
    """A fake AWS whose CloudWatch is late: it tells each of the given lists of sums in turn, and the last for ever."""

    def __init__(self, *told: list[float]) -> None:
        super().__init__(iter([]))
        self.target = LATE
        answers = iter(told)
        self.reads = 0

        def read(**_: Any) -> dict[str, Any]:
            self.reads += 1
            return {"Datapoints": [{"Sum": each} for each in next(answers, told[-1])]}

        self._services = {**self._services, "cloudwatch": {"get_metric_statistics": read}}


def test_minutes_that_cloudwatch_has_not_told_are_no_rest() -> None:
    late = Late([], [], [90.0], [90.0, 1.0], [1.0, 0.0, 1.0, 0.0])
    bring_to_rest(late.aws, ENDPOINT, minimum=1, target=10.0, photo=b"photo")
    assert late.reads == 5


def test_without_any_datapoint_the_look_back_and_three_minutes_have_to_pass() -> None:
    late, begun = Late([]), time.monotonic()
    bring_to_rest(late.aws, ENDPOINT, minimum=1, target=10.0, photo=b"photo")
    assert time.monotonic() - begun >= (4 + 3) * 60 / 600
    assert late.reads > 1


def test_a_load_that_does_not_end_is_not_waited_for_forever() -> None:
    always = (50.0 for _ in range(10_000))
    with pytest.raises(WaitTimedOut, match="under a load of 50 invocations a minute"):
        bring_to_rest(Loaded(always, time_scale=10_000.0).aws, ENDPOINT, minimum=1, target=10.0, photo=b"photo")
