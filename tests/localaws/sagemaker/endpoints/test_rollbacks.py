"""Guarded updates that are taken back, by alarms or for their time: at once, as a whole, without losing a request."""

from tests.localaws.roles import make_role, remove_role
from tests.localaws.sagemaker.endpoints import updates
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench
from tests.localaws.sagemaker.endpoints.updates import (
    bench,
    blue_green,
    homes,
    instances,
    is_share,
    no_endpoint_outlives_its_test,
    percent,
    put_alarm,
    rolling,
    start,
    update,
    version,
    versions,
    watched,
    with_alarms,
)
from tests.localaws.scaled_server import SCALE, ScaledServer
from tests.polling import wait_until

__all__ = ["bench", "no_endpoint_outlives_its_test"]

ALARM_SECONDS = 60 / SCALE  # real: one period of the alarms
LATE_SECONDS = 5.0  # real: what a busy machine may add


def test_a_model_that_fails_every_third_photo_is_taken_back_by_its_alarm(
    fast_server: ScaledServer, bench: Workbench
) -> None:
    former = version(bench, "1", count=2)
    endpoint, config = start(bench, former), version(bench, "2", updates.THIRD_FAILS, count=2)
    alarm = put_alarm(bench, endpoint, "Invocation5XXErrors", "Sum", 1, config=config)
    guarded = with_alarms(blue_green("CANARY", wait=3600, CanarySize=instances(1)), alarm)

    with watched(fast_server, bench, endpoint) as seen:
        update(bench, endpoint, config, guarded)
        described = bench.settled(endpoint)
        served = len(seen.answers)
        wait_until(lambda: len(seen.answers) > served + 50)

    back = seen.first("RollingBack")
    last_bad = max(each.sent for each in seen.answers if each.version == "2" or each.status != 200)
    first_failure = min(each.answered for each in seen.failures)
    assert len(seen.failures) > 0 and {each.status for each in seen.failures} == {424}
    assert last_bad - first_failure < ALARM_SECONDS + LATE_SECONDS
    assert set(versions(seen.since(back.told))) == {"1"} and last_bad <= back.told
    assert abs(len(seen.failures) - versions(seen.answers)["2"] / 2) <= 1, "only every third photo fails"
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", former)
    assert f'because the CloudWatch alarm "{alarm}"' in described["FailureReason"]
    assert "Threshold Crossed" in described["FailureReason"]
    assert [each["CurrentInstanceCount"] for each in described["ProductionVariants"]] == [2]
    assert updates.is_gone(homes(seen, "2"))


def test_a_model_that_is_five_times_slower_is_taken_back_by_an_alarm_on_its_latency(
    fast_server: ScaledServer, bench: Workbench
) -> None:
    former = version(bench, "1", updates.slow(0.02), count=2)
    endpoint, config = start(bench, former), version(bench, "2", updates.slow(0.1), count=2)
    alarm = put_alarm(bench, endpoint, "ModelLatency", "Average", 95_000, config=config)
    guarded = with_alarms(blue_green("LINEAR", wait=3600, LinearStepSize=percent(50)), alarm)

    with watched(fast_server, bench, endpoint) as seen:
        update(bench, endpoint, config, guarded)
        described = bench.settled(endpoint)

    slow = [each for each in seen.answers if each.version == "2"]
    assert slow and seen.failures == []
    assert max(each.sent for each in slow) - min(each.answered for each in slow) < ALARM_SECONDS + LATE_SECONDS
    assert described["EndpointConfigName"] == former and alarm in described["FailureReason"]
    assert [each for each in seen.steps if "2 instance(s)" in each and "Activating" in each] == []


def test_an_alarm_that_was_in_alarm_before_lets_no_request_reach_the_new_fleet(
    fast_server: ScaledServer, bench: Workbench
) -> None:
    former = version(bench, "1")
    endpoint, config = start(bench, former), version(bench, "2")
    alarm = put_alarm(bench, endpoint, "Invocations", "Sum", 1)

    with watched(fast_server, bench, endpoint) as seen:
        wait_until(lambda: fast_server.alarm(alarm)["StateValue"] == "ALARM")
        update(bench, endpoint, config, with_alarms(blue_green("ALL_AT_ONCE", wait=0), alarm))
        described = bench.settled(endpoint)

    assert set(versions(seen.answers)) == {"1"} and seen.failures == []
    assert described["EndpointConfigName"] == former and alarm in described["FailureReason"]
    assert "Launching 1 instance(s)." in seen.steps and not any("Activating" in each for each in seen.steps)


def test_a_rolling_update_that_takes_too_long_is_taken_back_in_batches(
    fast_server: ScaledServer, bench: Workbench
) -> None:
    former = version(bench, "1", count=3)
    endpoint, config = start(bench, former), version(bench, "2", count=3)
    deployment = rolling(instances(1), wait=250, limit=600, RollbackMaximumBatchSize=instances(1))

    with watched(fast_server, bench, endpoint) as seen:
        update(bench, endpoint, config, deployment)
        described = bench.settled(endpoint)
        served = len(seen.answers)
        wait_until(lambda: len(seen.answers) > served + 20)

    back = [each.described["ProductionVariants"][0] for each in seen.looks if each.status == "RollingBack"]
    assert seen.failures == []
    assert "longer than its MaximumExecutionTimeoutInSeconds of 600" in described["FailureReason"]
    assert {2, 3} <= {each["CurrentInstanceCount"] for each in back}
    assert [each["CurrentInstanceCount"] for each in described["ProductionVariants"]] == [3]
    assert described["EndpointConfigName"] == former
    assert {each.version for each in seen.answers[served:]} == {"1"}
    assert updates.is_gone(homes(seen, "2"))


def test_a_rollback_that_fails_leaves_both_fleets_until_the_next_update(
    fast_server: ScaledServer, bench: Workbench
) -> None:
    iam, name = bench.localaws.client("iam"), bench.name()
    own = Workbench(bench.localaws, make_role(iam, name, "sagemaker"), prefix=bench.name())
    former = version(own, "1", count=3)
    endpoint, config = start(bench, former), version(bench, "2", count=3)
    alarm = updates.put_own_alarm(bench)

    with watched(fast_server, bench, endpoint) as seen:
        update(bench, endpoint, config, with_alarms(rolling(instances(1), wait=240), alarm))
        wait_until(lambda: any("Baking" in each and "of 2 instance(s)" in each for each in seen.steps))
        remove_role(iam, name)  # of the old model: none of its instances can start any more
        updates.trip(bench, alarm)
        broken = bench.settled(endpoint)
        served = len(seen.answers)
        wait_until(lambda: len(seen.answers) > served + 150)
        mixed = seen.answers[served + updates.CLIENTS :]
        bench.localaws.client("cloudwatch").delete_alarms(AlarmNames=[alarm])
        update(bench, endpoint, config)
        mended = bench.settled(endpoint)

    assert (broken["EndpointStatus"], broken["EndpointConfigName"]) == ("UpdateRollbackFailed", former)
    assert alarm in broken["FailureReason"] and "The rollback failed" in broken["FailureReason"]
    assert seen.failures == [] and is_share(mixed, "2", 2 / 3), versions(mixed)
    assert (mended["EndpointStatus"], mended["EndpointConfigName"]) == ("InService", config)
    assert [each["CurrentInstanceCount"] for each in mended["ProductionVariants"]] == [3]
    assert updates.is_gone(homes(seen, "1")) and len(homes(seen, "2")) == 5
