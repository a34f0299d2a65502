"""A version goes onto a live endpoint and back, and a promotion whose command was killed is settled by the next one."""

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tasks.promotion.change import roll_back
from tasks.promotion.guards import LEAST_MICROSECONDS, Guard, Limits, ensure_guards, guards_of, remove_guards, ringing
from tasks.promotion.promote import (
    Promotion,
    find_release,
    release,
    releases_of,
    settle_earlier,
)
from tasks.promotion.rollout import Rollout, plan_of, rollout_of
from tasks.registry.listing import list_versions
from tasks.registry.packages import ListedPackage, ModelVersion, describe_package
from tasks.registry.register import register_model
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.handle import Run
from tasks.run.options import DeployOptions, Network
from tasks.run.records import EndpointRef, TrainedModel
from tasks.serving.deployment import describe_endpoint, ensure_endpoint_role
from tasks.serving.endpoint import ensure_endpoint
from tasks.serving.endpoint_plan import guard_prefix
from tasks.serving.releases import Release, Releases, promoted_release
from tasks.teardown.teardown import tear_down
from tests.conftest import RunningLocalAws
from tests.kennel.interface import differences
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO
from tests.polling import wait_until
from tests.tasks.registry.trained_runs import account, trained_run

AT_ONCE = Rollout(1, 0, ())
NEVER_LOADS = "def model_fn(model_dir):\n    raise RuntimeError('this model never loads')\n"


@pytest.fixture(scope="module")
def aws(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return account(localaws.url, tmp_path_factory.mktemp("promotion"))


@pytest.fixture(scope="module")
def deployed(aws: Aws) -> Iterator[Run]:
    """A run whose registered model serves."""
    run = trained_run(aws, f"live-{secrets.token_hex(3)}", f"live {secrets.token_hex(3)}")
    register_model(run)
    plan = describe_endpoint(run, DeployOptions(), Network(), run.need(TrainedModel))
    run.keep(ensure_endpoint(run, replace(plan, role_arn=ensure_endpoint_role(run, plan))))
    yield run
    tear_down(aws, run.id, yes=True, say=lambda _: None)


@pytest.fixture
def service(deployed: Run) -> Run:
    """The run, whose endpoint serves its own model and has served no other."""
    if promoted_release(deployed) is not None or deployed.find(Promotion) is not None:
        run_own = replace(releases_of(deployed).all[0], why="the test before")
        deployed.forget(Releases, Promotion)
        release(deployed, run_own, AT_ONCE)
        deployed.forget(Releases, Promotion)
    return deployed


@pytest.fixture
def wanted(service: Run) -> Release:
    """A version that a challenger's run registered."""
    return challenger(service)


def challenger(service: Run, code: str = ECHO) -> Release:
    name = f"chal-{secrets.token_hex(3)}"
    run = trained_run(service.aws, name, service.need(ModelVersion).group.removeprefix("kennel-"), code=code)
    register_model(run)
    return find_release(service, name, "better by the gate")


def package(service: Run, wanted: Release) -> ListedPackage:
    found = describe_package(service.aws, wanted.package)
    assert found is not None
    return found


def served(service: Run) -> str:
    """Return the name of the configuration that the endpoint serves."""
    name = service.need(EndpointRef).name
    return str(service.aws.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointConfigName"])


def test_a_version_is_found_by_number_arn_and_run_and_another_is_refused(service: Run, wanted: Release) -> None:
    number = str(package(service, wanted).version)
    trained_by = wanted.trained_by
    for named in (number, wanted.package, trained_by):
        assert replace(find_release(service, named, wanted.why), at=wanted.at) == wanted
    for named in ("99", "no-such-run", f"{wanted.package.rpartition('/')[0]}/99"):
        with pytest.raises(SettingsRefused, match=f"version {named}"):
            find_release(service, named, "why")


def serves_since(service: Run, wanted: Release) -> bool:
    """Tell whether a release serves, from the moment on when it was promoted."""
    found = promoted_release(service)
    return found is not None and found == replace(wanted, at=found.at) and found.at >= wanted.at


def test_a_promotion_and_a_rollback_are_served_recorded_and_told_to_the_registry(service: Run, wanted: Release) -> None:
    before = served(service)
    done = release(service, wanted, AT_ONCE)
    assert (done.outcome, done.config_name) == ("promoted", served(service)) and done.config_name != before
    assert [each.package for each in releases_of(service).all] == ["", wanted.package]
    assert serves_since(service, wanted)
    assert (package(service, wanted).approval, package(service, wanted).reason) == ("Approved", "better by the gate")
    states = {each.arn: each.state for each in list_versions(service.aws, service.need(ModelVersion).group)}
    assert states[wanted.package] == "champion" and states[service.need(ModelVersion).arn] == "challenger"

    back = roll_back(service, "too slow")
    assert (back.outcome, served(service)) == ("rolled back", before)
    assert back.steps == "all requests at once, without a watch"
    assert promoted_release(service) is None and len(releases_of(service).all) == 1
    assert (package(service, wanted).approval, package(service, wanted).reason) == ("Rejected", "rolled back: too slow")
    assert differences("promote", {"run_id": service.id, **vars(back), "release": vars(back.release)}) == []


def test_there_is_nothing_to_roll_back_to_before_a_promotion(service: Run) -> None:
    with pytest.raises(SettingsRefused, match="the endpoint has served no other model"):
        roll_back(service, "why")
    assert service.find(Promotion) is None


def test_a_second_rollback_goes_back_one_more(service: Run, wanted: Release) -> None:
    later = challenger(service)
    release(service, wanted, AT_ONCE)
    release(service, later, AT_ONCE)
    assert roll_back(service, "one").release.package == wanted.package
    assert package(service, wanted).approval == "Approved"
    assert roll_back(service, "two").release.package == ""
    assert [package(service, each).approval for each in (later, wanted)] == ["Rejected", "Rejected"]


def test_a_version_that_cannot_be_loaded_is_taken_back_and_rejected_with_awss_reason(service: Run) -> None:
    before, broken = served(service), challenger(service, NEVER_LOADS)
    with pytest.raises(StageFailed, match="rolled back"):
        release(service, broken, AT_ONCE)
    kept = service.need(Promotion)
    assert (kept.outcome, served(service), promoted_release(service)) == ("taken back", before, None)
    found = package(service, broken)
    assert (found.approval, "this model never loads" in kept.why, "\n" in kept.why) == ("Rejected", True, True)
    assert found.reason.startswith(" ".join(f"taken back: {kept.why}".split())[:500])


def killed_before_the_update(service: Run, wanted: Release) -> None:
    """Leave what a command leaves that was killed when it had written down what it was to do."""
    plan = plan_of(service, wanted, AT_ONCE)
    plan = replace(plan, role_arn=ensure_endpoint_role(service, plan))
    service.keep(Promotion(wanted, plan.config_name, AT_ONCE.text, "begun", wanted.why, wanted.at, False))


def killed_after_the_update(service: Run, wanted: Release) -> None:
    """Leave what a command leaves that was killed when the endpoint served the version, before it knew."""
    releases = service.find(Releases)
    release(service, wanted, AT_ONCE)
    service.keep(replace(service.need(Promotion), outcome="begun"))
    service.forget(Releases)
    if releases is not None:
        service.keep(releases)


def test_without_an_earlier_promotion_there_is_nothing_to_settle(service: Run) -> None:
    assert settle_earlier(service) is None


def test_a_killed_promotion_whose_version_serves_was_promoted(service: Run, wanted: Release) -> None:
    killed_after_the_update(service, wanted)
    ended = settle_earlier(service)
    assert ended is not None and ended.outcome == "promoted" == service.need(Promotion).outcome
    assert serves_since(service, wanted) and package(service, wanted).approval == "Approved"
    assert settle_earlier(service) is None


def test_a_killed_promotion_whose_former_model_serves_was_taken_back_with_the_reason(
    service: Run, wanted: Release
) -> None:
    killed_before_the_update(service, wanted)
    ended = settle_earlier(service)
    assert ended is not None and (ended.outcome, promoted_release(service)) == ("taken back", None)
    assert f"the endpoint serves {served(service)}" in ended.why
    assert (package(service, wanted).approval, package(service, wanted).reason) == (
        "Rejected",
        f"taken back: {ended.why}",
    )
    assert settle_earlier(service) is None


def test_a_killed_rollback_whose_former_model_serves_was_rolled_back(service: Run, wanted: Release) -> None:
    """Also if it was killed when all but its end was kept, which is the second round."""
    release(service, wanted, AT_ONCE)
    promoted = releases_of(service)
    roll_back(service, "too slow")
    for kept in (promoted, releases_of(service)):
        service.keep(replace(service.need(Promotion), outcome="begun"))
        service.keep(kept)
        ended = settle_earlier(service)
        assert ended is not None and ended.outcome == "rolled back"
        assert promoted_release(service) is None and package(service, wanted).approval == "Rejected"


def test_a_killed_promotion_of_the_release_before_is_no_rollback(service: Run, wanted: Release) -> None:
    later = challenger(service)
    release(service, wanted, AT_ONCE)
    release(service, later, AT_ONCE)
    killed_after_the_update(service, replace(wanted, why="again"))
    ended = settle_earlier(service)
    assert ended is not None and ended.outcome == "promoted"
    assert [each.package for each in releases_of(service).all][-2:] == [later.package, wanted.package]
    assert package(service, later).approval == "Approved"


def test_a_killed_promotion_whose_package_was_deleted_is_settled(service: Run, wanted: Release) -> None:
    killed_before_the_update(service, wanted)
    service.aws.client("sagemaker").delete_model_package(ModelPackageName=wanted.package)
    ended = settle_earlier(service)
    assert ended is not None and ended.outcome == "taken back"


def test_the_latency_that_is_allowed_follows_from_what_was_measured_and_the_errors_from_the_limits(
    service: Run,
) -> None:
    runtime, name = service.aws.client("sagemaker-runtime"), service.need(EndpointRef).name
    for _ in range(5):
        runtime.invoke_endpoint(EndpointName=name, Body=b"photo")
    errors, latency = wait_until(lambda: guards_of(service, Limits(0.05, 1e6)), holds=lambda found: len(found) == 2)
    assert (errors.metric, errors.statistic, errors.threshold) == ("Invocation5XXErrors", "Average", 0.05)
    assert (latency.metric, latency.statistic) == ("ModelLatency", "p99")
    (least,) = [each for each in guards_of(service, Limits(0.05, 1.0)) if each.metric == "ModelLatency"]
    assert latency.threshold > least.threshold >= LEAST_MICROSECONDS
    assert errors.text == "share of answers with an error of the server's up to 5.0%"


def test_alarms_are_made_changed_told_when_they_ring_and_removed(service: Run) -> None:
    client, name = service.aws.client("cloudwatch"), f"{guard_prefix(service.id)}latency"
    guard = Guard(name, "ModelLatency", "p99", 30_000.0)
    for threshold in (30_000.0, 40_000.0):
        ensure_guards(service, (replace(guard, threshold=threshold),))
    (alarm,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert (alarm["Threshold"], alarm["ExtendedStatistic"], alarm["TreatMissingData"]) == (40_000, "p99", "breaching")
    client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by hand")
    assert ringing(service, (guard,)) == f"{name}: by hand"
    assert [row.name for row in service.ledger.live() if row.kind == "alarm"] == [name]
    remove_guards(service)
    assert client.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []
    assert [row.name for row in service.ledger.live() if row.kind == "alarm"] == []


def test_the_steps_are_for_the_instances_that_the_endpoint_has_now(service: Run) -> None:
    assert rollout_of(service, 300, ("a",)) == Rollout(1, 300, ("a",))
