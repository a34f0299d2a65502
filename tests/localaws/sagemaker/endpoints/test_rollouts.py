"""Guarded updates under load: each traffic type shifts what it says, and no request is lost."""

import json
import os
import signal
import time
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from tests.localaws import outer_pid
from tests.localaws.autoscaling.autoscaling_kit import Variant
from tests.localaws.sagemaker.endpoints import updates
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench, model_servers, workbench
from tests.localaws.sagemaker.endpoints.updates import (
    bench,
    binomial,
    blue_green,
    homes,
    instances,
    is_share,
    no_endpoint_outlives_its_test,
    percent,
    rolling,
    start,
    update,
    version,
    versions,
    watched,
    with_alarms,
)
from tests.localaws.scaled_server import ScaledServer, scaled_server
from tests.polling import wait_until

__all__ = ["bench", "no_endpoint_outlives_its_test"]

NAMESPACE = "AWS/SageMaker"


def test_a_canary_of_ten_instances_gets_a_tenth_of_the_requests_on_one(
    fast_server: ScaledServer, bench: Workbench
) -> None:
    former = version(bench, "1", count=10)
    endpoint, config = start(bench, former), version(bench, "2", count=10)

    with watched(fast_server, bench, endpoint) as seen:
        wait_until(lambda: len(seen.answers) > 50)
        update(bench, endpoint, config, blue_green("CANARY", wait=240, end=60, CanarySize=percent(10)))
        described = bench.settled(endpoint)
        served = len(seen.answers)
        wait_until(lambda: len(seen.answers) > served + 50)

    launching, canary, full = "Launching 10 instance(s).", "Baking for 240 seconds", "Baking for 60 seconds"
    assert seen.failures == []
    assert set(versions(seen.during(launching))) == {"1"}
    assert is_share(seen.during(canary), "2", 0.1), versions(seen.during(canary))
    assert len({each.home for each in seen.during(canary) if each.version == "2"}) == 1
    assert set(versions(seen.during(full))) == {"2"}
    assert [each for each in seen.steps if not each.startswith("Activating")] == [
        launching,
        "Baking for 240 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s).",
        "Baking for 60 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 10 instance(s).",
    ]
    assert seen.statuses == ["InService", "Updating"]
    assert {each.described["EndpointConfigName"] for each in seen.looks if each.status == "Updating"} == {former}
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", config)
    assert "PendingDeploymentSummary" not in described
    assert updates.is_gone(homes(seen, "1"))
    names = {"EndpointName": endpoint, "VariantName": "AllTraffic"}
    counted = [
        sum(fast_server.sums(NAMESPACE, "Invocations", {**names, **more}).values())
        for more in ({}, {"EndpointConfigName": former}, {"EndpointConfigName": config})
    ]
    assert counted == [len(seen.answers), versions(seen.answers)["1"], versions(seen.answers)["2"]]


def test_a_linear_update_shifts_in_equal_steps_and_tells_each(fast_server: ScaledServer, bench: Workbench) -> None:
    endpoint, config = start(bench, version(bench, "1", count=3)), version(bench, "2", count=3)

    with watched(fast_server, bench, endpoint) as seen:
        update(bench, endpoint, config, blue_green("LINEAR", wait=120, end=60, LinearStepSize=percent(33)))
        bench.settled(endpoint)

    baking = [each for each in seen.steps if each.startswith("Baking")]
    assert seen.failures == []
    assert [each.partition("enabled on ")[2] for each in baking] == [
        "capacity of 1 instance(s).",
        "capacity of 2 instance(s).",
        "full capacity of 3 instance(s).",
    ]
    for step, share in zip(baking, (1 / 3, 2 / 3), strict=False):
        assert is_share(seen.during(step), "2", share), (step, versions(seen.during(step)))
    assert set(versions(seen.during(baking[2]))) == {"2"}
    counts = [each.pending["CurrentInstanceCount"] for each in seen.looks if each.pending]
    assert counts == sorted(counts) and {*counts} == {0, 1, 2, 3}


def test_a_rolling_update_replaces_batches_and_the_requests_follow(fast_server: ScaledServer, bench: Workbench) -> None:
    endpoint, config = start(bench, version(bench, "1", count=3)), version(bench, "2", count=3)
    others, running = len(model_servers(fast_server.localaws)) - 3, set()

    with watched(fast_server, bench, endpoint) as seen:
        update(bench, endpoint, config, rolling(instances(1), wait=90))
        wait_until(lambda: seen.looks and seen.looks[-1].status == "Updating")
        while seen.looks[-1].status == "Updating":
            running.add(len(model_servers(fast_server.localaws)) - others)
            time.sleep(0.1)
        described = bench.settled(endpoint)

    baking = [each for each in seen.steps if each.startswith("Baking")]
    assert seen.failures == []
    assert len(baking) == 3 and max(running) == 4
    for number, step in enumerate(baking[:2], 1):
        assert is_share(seen.during(step), "2", number / 3), (step, versions(seen.during(step)))
    assert [each["CurrentInstanceCount"] for each in described["ProductionVariants"]] == [3]
    assert described["EndpointConfigName"] == config
    assert updates.is_gone(homes(seen, "1"))


def test_each_variant_has_its_own_canary_and_a_caller_may_name_the_variant(bench: Workbench) -> None:
    def both(number: str) -> str:
        model = bench.model(environment={"VERSION": number})
        rows = [("even", 2, 3.0), ("small", 3, 1.0)]
        return bench.config(
            *(
                {"VariantName": name, "ModelName": model, "InitialInstanceCount": count, "InitialVariantWeight": weight}
                for name, count, weight in rows
            )
        )

    endpoint, alarm = start(bench, both("1")), updates.put_own_alarm(bench)
    canary = blue_green("CANARY", wait=3600, CanarySize=percent(33))
    update(bench, endpoint, both("2"), with_alarms(canary, alarm))
    wait_until(lambda: step_of(bench, endpoint).startswith("Baking"))
    drawn = [told(bench, endpoint) for _ in range(150)]
    named = [told(bench, endpoint, TargetVariant="small") for _ in range(100)]
    assert step_of(bench, endpoint).startswith("Baking"), "the requests were sent while it baked"
    updates.trip(bench, alarm)
    assert alarm in bench.settled(endpoint)["FailureReason"]

    assert {variant for variant, _ in named} == {"small"}
    assert binomial(named, ("small", "2"), 1 / 3), Counter(named)
    for variant, share, new in (("even", 3 / 4, 1 / 2), ("small", 1 / 4, 1 / 3)):
        assert binomial(drawn, (variant, "2"), share * new), Counter(drawn)
        assert binomial(drawn, (variant, "1"), share * (1 - new)), Counter(drawn)


def told(bench: Workbench, endpoint: str, **parameters: str) -> tuple[str, str]:
    """Return which variant and version answers."""
    answer = bench.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x", **parameters)
    return answer["InvokedProductionVariant"], json.loads(answer["Body"].read())["version"]


def test_a_canary_that_dies_loses_only_its_own_requests_and_is_replaced(
    fast_server: ScaledServer, bench: Workbench
) -> None:
    endpoint = start(bench, version(bench, "1", updates.slow(0.01), count=2))
    config = version(bench, "2", updates.slow(0.01), count=2)

    with watched(fast_server, bench, endpoint) as seen:
        update(bench, endpoint, config, blue_green("CANARY", wait=240, CanarySize=instances(1)))
        wait_until(lambda: homes(seen, "2"))
        (victim,) = homes(seen, "2")
        os.kill(outer_pid.processes_with(f"/home/{victim}")[0].pid, signal.SIGKILL)
        described = bench.settled(endpoint)
        wait_until(lambda: len(homes(seen, "2")) == 3)

    assert len(seen.failures) <= updates.CLIENTS and {each.status for each in seen.failures} <= {424}
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", config)


def test_a_deployment_config_is_kept_for_later_updates(bench: Workbench) -> None:
    endpoint, first = bench.name(), version(bench, "1", count=2)
    deployment = with_alarms(blue_green("LINEAR", wait=60, LinearStepSize=percent(50)), updates.put_own_alarm(bench))
    bench.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=first, DeploymentConfig=deployment)
    creating = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
    created = bench.settled(endpoint)

    update(bench, endpoint, version(bench, "2", count=2), RetainDeploymentConfig=True)
    steps = wait_until(lambda: step_of(bench, endpoint), holds=lambda step: "of 1 instance(s)" in step)
    updated = bench.settled(endpoint)

    (pending,) = creating["PendingDeploymentSummary"]["ProductionVariants"]
    assert creating["PendingDeploymentSummary"]["EndpointConfigName"] == first
    assert [(each["Status"], each["StatusMessage"]) for each in pending["VariantStatus"]] == [
        ("Creating", "Launching 2 instance(s).")
    ]
    assert created["LastDeploymentConfig"] == updated["LastDeploymentConfig"] == deployment
    assert "VariantStatus" not in created["ProductionVariants"][0]
    assert steps.endswith("capacity of 1 instance(s).")
    with pytest.raises(ClientError, match="RetainDeploymentConfig and DeploymentConfig"):
        update(bench, endpoint, first, deployment, RetainDeploymentConfig=True)


def step_of(bench: Workbench, endpoint: str) -> str:
    described = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
    return updates.Look(0, 0, described).step


def test_an_update_suspends_scaling_and_refuses_other_changes(fast_server: ScaledServer, bench: Workbench) -> None:
    endpoint = start(bench, version(bench, "1", count=2))
    variant = Variant(fast_server, bench, endpoint)
    variant.register(1, 3)
    variant.track(10.0)
    update(bench, endpoint, version(bench, "2", count=2), blue_green("CANARY", wait=360, CanarySize=instances(1)))
    variant.load(100.0, back=3)

    refused = variant.until_activity(lambda each: "NotScaledReasons" in each, IncludeNotScaledActivities=True)
    for change in (
        lambda: bench.sagemaker.delete_endpoint(EndpointName=endpoint),
        lambda: update(bench, endpoint, bench.config({"ModelName": bench.model()})),
    ):
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            change()
    during = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
    bench.settled(endpoint)
    variant.until_serving(3)

    assert during["EndpointStatus"] == "Updating"
    assert [each["Code"] for each in refused["NotScaledReasons"]] == ["TargetServicePutResourceAsUnscalable"]
    assert during["ProductionVariants"][0]["DesiredInstanceCount"] == 2


def test_a_reset_in_the_middle_of_an_update_leaves_nothing_of_either_fleet() -> None:
    with scaled_server() as server, workbench(server.localaws) as bench:
        endpoint = start(bench, version(bench, "1"))
        update(bench, endpoint, version(bench, "2"), blue_green("ALL_AT_ONCE", wait=0, end=3600))
        wait_until(lambda: step_of(bench, endpoint).startswith("Baking"))

        gone = server.ask("/_localaws/reset", {})["generation"]
        wait_until(lambda: generation(server), "a new state", holds=lambda name: name != gone)

        wait_until(lambda: model_servers(server.localaws) == set())
        assert bench.sagemaker.list_endpoints()["Endpoints"] == []
        with pytest.raises(ClientError, match="not found"):
            bench.invoke(endpoint)
        assert list((server.localaws.home / "endpoints").glob("*")) == []


def generation(server: ScaledServer) -> str | None:
    """Return the name of its state; None if the connection was one of those that a reset closes."""
    try:
        return str(server.ask("/_localaws/health")["generation"])
    except OSError:
        return None
