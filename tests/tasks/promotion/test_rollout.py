"""How an update is carried out: the steps in words and as SageMaker takes them, for one instance and for several."""

from pathlib import Path

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator

from tasks.promotion.rollout import LEAST_TIMEOUT_SECONDS, MOST_TIMEOUT_SECONDS, START_SECONDS, Rollout
from tasks.run.clock import AwsClock
from tasks.run.settings import Settings

ALARMS = ("kennel-r-guard-errors", "kennel-r-guard-latency")
ONE, TWO, TEN = (Rollout(instances, 300, ALARMS) for instances in (1, 2, 10))


@pytest.mark.parametrize(
    ("rollout", "text"),
    [
        (ONE, "all requests at once (one instance has no smaller share), watched for 300 s"),
        (TWO, "1 of 2 instances (50% of the requests), then all, each watched for 300 s of AWS's clock"),
        (TEN, "1 of 10 instances (10% of the requests), then all, each watched for 300 s of AWS's clock"),
        (Rollout(10, 0, ()), "all requests at once, without a watch"),
    ],
)
def test_the_steps_are_said_in_words(rollout: Rollout, text: str) -> None:
    assert rollout.text == text


def routing(rollout: Rollout) -> dict[str, object]:
    found: dict[str, object] = rollout.config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    return found


def test_one_instance_has_no_canary() -> None:
    assert routing(ONE) == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300}


@pytest.mark.parametrize("rollout", [TWO, TEN])
def test_of_several_instances_one_is_the_canary(rollout: Rollout) -> None:
    size = {"Type": "INSTANCE_COUNT", "Value": 1}
    assert routing(rollout) == {"Type": "CANARY", "WaitIntervalInSeconds": 300, "CanarySize": size}


def test_the_alarms_take_the_update_back_and_without_them_nothing_does() -> None:
    assert TWO.config["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": name} for name in ALARMS]}
    assert "AutoRollbackConfiguration" not in Rollout(2, 0, ()).config
    assert routing(Rollout(2, 0, ()))["Type"] == "ALL_AT_ONCE"


@pytest.mark.parametrize("rollout", [ONE, TWO, TEN, Rollout(2, 0, ()), Rollout(2, 3600, ALARMS)])
def test_sagemakers_model_takes_the_configuration_within_its_limits(rollout: Rollout) -> None:
    shape = get_session().get_service_model("sagemaker").shape_for("DeploymentConfig")
    assert not ParamValidator().validate(rollout.config, shape).has_errors()
    assert LEAST_TIMEOUT_SECONDS <= rollout.timeout_seconds <= MOST_TIMEOUT_SECONDS
    assert rollout.timeout_seconds >= START_SECONDS + 2 * rollout.bake_seconds


def test_the_deadline_of_this_machine_is_longer_than_awss_own() -> None:
    clock = AwsClock.from_settings(Settings(home=Path("none")))
    assert Rollout(2, 3600, ALARMS).deadline_seconds(clock) >= 1800.0
