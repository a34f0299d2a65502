"""Target tracking that acts: real load scales a variant out and in, within limits, cooldowns and suspensions."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.hearing import TELL, hearing
from tests.localaws.autoscaling.autoscaling_kit import Variant, connect, invoke_once, requests
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, Workbench
from tests.localaws.scaled_server import ScaledServer
from tests.polling import wait_until

INVOCATIONS = "SageMakerVariantInvocationsPerInstance"
CONCURRENCY = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
LONG = 110  # emulated minutes, 55 s: a busy machine needs more than 30 of them for an instance
PER_SECOND, TARGET = 50, 10.0  # 25 requests in an emulated minute of half a second: three instances are needed


@pytest.fixture(scope="module")
def model(bench: Workbench) -> str:
    return bench.model()


@pytest.fixture
def variant(server: ScaledServer, bench: Workbench, model: str) -> Iterator[Variant]:
    made = Variant(server, bench, bench.endpoint(model))
    yield made
    bench.delete(made.endpoint)


def test_load_scales_out_to_the_proportional_count_and_quiet_scales_in_by_steps(variant: Variant) -> None:
    variant.register(1, 5)
    names = [each["AlarmName"] for each in variant.track(TARGET, predefined=INVOCATIONS)["Alarms"]]
    before = variant.alarms()
    with requests(variant.server, variant.endpoint, clients=4, per_second=PER_SECOND) as sent:
        variant.until_serving(3)
        alarmed = variant.alarms()["High"]
        variant.pass_minutes(3)
        answers = {variant.bench.invoke(variant.endpoint)["pid"] for _ in range(30)}
        grown = variant.desired
    quiet = variant.server.now()
    variant.until_serving(1, seconds=30)
    out, *ins = variant.activities()

    assert before["High"]["AlarmName"] == names[0] and before["Low"]["AlarmName"] == names[1]
    assert (before["High"]["Threshold"], before["High"]["EvaluationPeriods"], before["High"]["Period"]) == (10.0, 3, 60)
    assert (before["Low"]["Threshold"], before["Low"]["EvaluationPeriods"], before["Low"]["Period"]) == (9.0, 15, 60)
    assert before["High"]["StateValue"] in {"INSUFFICIENT_DATA", "OK"}  # a period may pass between the two calls
    assert alarmed["StateValue"] == "ALARM"
    assert sent.failures == [] and len(answers) == 3 and grown == 3
    assert out["Description"] == "Setting desired instance count to 3."
    assert out["Cause"] == f"monitor alarm {names[0]} in state ALARM triggered policy track"
    assert out["StatusCode"] == "Successful"
    assert out["StatusMessage"] == (
        "Successfully set desired instance count to 3. Change successfully fulfilled by sagemaker."
    )
    assert [each["Description"] for each in ins] == [
        "Setting desired instance count to 2.",
        "Setting desired instance count to 1.",
    ]
    assert all(names[1] in each["Cause"] for each in ins)
    assert ins[0]["StartTime"].timestamp() - quiet >= 10 * 60  # the last minutes of load may be quiet for three
    assert ins[1]["StartTime"] - ins[0]["EndTime"] >= timedelta(seconds=60)  # the cooldown


def test_concurrent_requests_scale_out_by_periods_of_ten_seconds(server: ScaledServer, bench: Workbench) -> None:
    slow = bench.model(ECHO.replace("return {", "__import__('time').sleep(0.05)\n    return {"))
    variant = Variant(server, bench, bench.endpoint(slow))
    variant.register(1, 4)
    variant.track(2.0, predefined=CONCURRENCY)
    started = server.now()
    with requests(server, variant.endpoint, clients=8):
        out = variant.until_activity(lambda _: True)
        variant.until_serving(4)
    alarms = variant.alarms()

    assert out["Description"] == "Setting desired instance count to 4."
    assert out["StartTime"].timestamp() - started < 20 * 60  # with the start of the requests, ten real seconds
    assert (alarms["High"]["Period"], alarms["High"]["Statistic"]) == (10, "Maximum")
    assert (alarms["Low"]["Period"], alarms["Low"]["EvaluationPeriods"]) == (60, 15)
    bench.delete(variant.endpoint)


def test_the_sum_of_each_emulated_minute_is_the_number_of_requests_in_it(variant: Variant) -> None:
    dimensions = {"EndpointName": variant.endpoint, "VariantName": "AllTraffic"}
    sent: dict[int, int] = {}
    connection = connect(variant.server)
    for count in (10, 25, 40):
        minute = int(variant.server.now()) // 60 * 60 + 60
        wait_until(lambda: variant.server.now() >= minute)  # noqa: B023 called at once
        for _ in range(count):
            assert invoke_once(connection, variant.endpoint) == 200
        if variant.server.now() < minute + 60:
            sent[minute] = count
    connection.close()

    assert sent, "no batch fitted into a minute"
    found = variant.server.sums("AWS/SageMaker", "Invocations", dimensions)
    assert {minute: found.get(minute) for minute in sent} == sent
    assert sum(found.values()) == 75
    assert sum(variant.server.sums("AWS/SageMaker", "InvocationsPerInstance", dimensions).values()) == 75


def test_a_minute_without_a_request_is_a_zero_and_cpu_is_measured(variant: Variant) -> None:
    dimensions = {"EndpointName": variant.endpoint, "VariantName": "AllTraffic"}
    variant.pass_minutes(3)
    per_instance = variant.server.sums("AWS/SageMaker", "InvocationsPerInstance", dimensions)
    cpu = variant.server.sums("/aws/sagemaker/Endpoints", "CPUUtilization", dimensions, "Average")
    assert len(per_instance) >= 2 and set(per_instance.values()) == {0.0}
    assert cpu and all(0 <= value <= 800 for value in cpu.values())


def test_the_maximum_is_respected_and_its_reason_told(variant: Variant) -> None:
    variant.load(1000.0, back=5)
    variant.register(1, 2)
    variant.track(10.0)
    variant.until_serving(2)
    reached = variant.until_activity(lambda each: "NotScaledReasons" in each, IncludeNotScaledActivities=True)

    assert reached["NotScaledReasons"] == [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 2, "CurrentCapacity": 2}]
    assert variant.desired == 2
    assert all("NotScaledReasons" not in each for each in variant.activities())


def test_a_cooldown_holds_until_a_larger_scale_out_is_asked_for(variant: Variant) -> None:
    variant.load(20.0, back=5, minutes=LONG)
    variant.register(1, 8)
    variant.track(10.0, ScaleOutCooldown=60 * LONG)
    variant.until_serving(2)
    variant.pass_minutes(4)  # the metric stays twice the target: without the cooldown there would be 4, 8
    held = variant.desired
    variant.load(60.0, minutes=LONG)  # the mean of 20 and 60: four times the target of the one instance that there was
    variant.until_serving(4)

    assert held == 2
    assert [each["Description"][-2] for each in variant.activities()] == ["2", "4"]


def test_without_a_cooldown_a_metric_that_stays_high_scales_out_again(variant: Variant) -> None:
    variant.load(20.0, back=5, minutes=LONG)
    variant.register(1, 4)
    variant.track(10.0, ScaleOutCooldown=0)
    variant.until_serving(4)
    assert [each["Description"][-2] for each in variant.activities()] == ["2", "4"]


def test_what_is_suspended_does_nothing_until_it_is_resumed(variant: Variant) -> None:
    variant.load(20.0, back=5)
    variant.register(1, 4, SuspendedState={"DynamicScalingOutSuspended": True})
    variant.track(10.0)
    wait_until(lambda: variant.alarms()["High"]["StateValue"] == "ALARM", what="the alarm")
    variant.pass_minutes(2)
    (described,) = variant.aws.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[variant.id["ResourceId"]]
    )["ScalableTargets"]
    suspended = (variant.desired, variant.activities(IncludeNotScaledActivities=True))
    variant.register(SuspendedState={"DynamicScalingOutSuspended": False})
    variant.until_serving(2)

    assert suspended == (1, [])
    assert described["SuspendedState"] == {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": True,
        "ScheduledScalingSuspended": False,
    }
    assert (described["MinCapacity"], described["MaxCapacity"]) == (1, 4)


def test_scale_in_that_is_disabled_does_not_happen(variant: Variant) -> None:
    variant.load(0.0, back=20)
    variant.register(2, 4)
    variant.until_serving(2)
    variant.register(1)
    variant.track(10.0, DisableScaleIn=True)
    wait_until(lambda: variant.alarms()["Low"]["StateValue"] == "ALARM", what="the alarm")
    variant.pass_minutes(2)
    kept = variant.desired
    variant.track(10.0)
    variant.until_serving(1)
    assert kept == 2


def test_an_update_that_retains_keeps_the_scaled_count_and_one_that_does_not_resets_it(
    variant: Variant, model: str
) -> None:
    variant.register(3, 4)
    variant.until_serving(3)
    variant.bench.settled(variant.endpoint)
    config = variant.bench.config({"ModelName": model})
    update: dict[str, Any] = {"EndpointName": variant.endpoint, "EndpointConfigName": config}
    variant.bench.sagemaker.update_endpoint(**update, RetainAllVariantProperties=True)
    retained = variant.bench.settled(variant.endpoint)["ProductionVariants"][0]["DesiredInstanceCount"]
    variant.bench.sagemaker.update_endpoint(**update)
    reset = variant.bench.settled(variant.endpoint)["ProductionVariants"][0]["DesiredInstanceCount"]
    (fitted,) = variant.activities()

    assert (retained, reset) == (3, 1)
    assert (fitted["Description"], fitted["Cause"]) == (
        "Setting desired instance count to 3.",
        "minimum capacity was set to 3",
    )


def test_nothing_is_scaled_while_the_endpoint_updates(server: ScaledServer, bench: Workbench) -> None:
    variant = Variant(server, bench, bench.endpoint(bench.model()))
    late = bench.model("import time\ntime.sleep(1.5)\n" + ECHO)
    variant.register(1, 4)
    config = bench.config({"ModelName": late})
    bench.sagemaker.update_endpoint(EndpointName=variant.endpoint, EndpointConfigName=config)
    variant.load(20.0, back=5)
    variant.track(10.0)
    refused = variant.until_activity(lambda each: "NotScaledReasons" in each, IncludeNotScaledActivities=True)
    during = bench.sagemaker.describe_endpoint(EndpointName=variant.endpoint)["EndpointStatus"]
    variant.until_serving(2)

    assert refused["NotScaledReasons"] == [{"Code": "TargetServicePutResourceAsUnscalable"}]
    assert during == "Updating"
    bench.delete(variant.endpoint)


def test_a_scale_out_that_fails_says_why(server: ScaledServer, bench: Workbench) -> None:
    once = "if tell(PORT, 'loads') != '0': raise RuntimeError('no second one')\n" + ECHO
    with hearing() as ear:
        model = bench.model(TELL + once.replace("PORT", str(ear.port)))
        variant = Variant(server, bench, bench.endpoint(model))
        variant.register(2, 2)
        failed = variant.until_activity(lambda each: each["StatusCode"] == "Failed")

    assert failed["StatusMessage"].startswith(
        "Failed to set desired instance count to 2. Reason: The primary container"
    )
    assert variant.serving == 1
    bench.delete(variant.endpoint)


def test_a_variant_that_is_scaled_keeps_its_instance_type_until_it_is_deregistered(
    variant: Variant, model: str
) -> None:
    variant.register(1, 2)
    variant.track(10.0)
    config = variant.bench.config({"ModelName": model, "InstanceType": "ml.c5.large"})
    with pytest.raises(ClientError, match=r"from ml.m5.large to ml.c5.large: it is registered as a scalable target"):
        variant.bench.sagemaker.update_endpoint(EndpointName=variant.endpoint, EndpointConfigName=config)
    variant.aws.deregister_scalable_target(**variant.id)
    variant.bench.sagemaker.update_endpoint(EndpointName=variant.endpoint, EndpointConfigName=config)

    assert variant.bench.settled(variant.endpoint)["EndpointConfigName"] == config
    assert variant.alarms() == {}


def test_two_scaled_variants_do_not_wait_for_each_other(server: ScaledServer, bench: Workbench, model: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [Variant(server, bench, name) for name in pool.map(lambda _: bench.endpoint(model), range(2))]
    before = time.monotonic()
    for variant in both:
        variant.load(20.0, back=5)
        variant.register(1, 2)
        variant.track(10.0)
    for variant in both:
        variant.until_serving(2)
    assert time.monotonic() - before < 80
    for variant in both:
        bench.delete(variant.endpoint)
