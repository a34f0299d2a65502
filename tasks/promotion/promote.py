"""Puts a version of the registry onto a run's endpoint, and keeps what was promoted, refused and taken back.

What is to be promoted is written down before the endpoint is changed. A command that was killed leaves the change to
AWS, which finishes it or takes it back; the next command finds out which, and records it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tasks.account.lookup import none_if_missing
from tasks.promotion.rollout import Rollout, plan_of, present_endpoint
from tasks.registry.groups import group_of
from tasks.registry.packages import (
    APPROVED,
    REJECTED,
    ListedPackage,
    ModelVersion,
    describe_package,
    list_packages,
    settle,
)
from tasks.run.errors import AwsFailed, SettingsRefused, StageFailed, aws_boundary
from tasks.run.handle import Run, RunFolder
from tasks.run.record_store import Record
from tasks.run.records import DatasetRef, EndpointRef, TrainedModel
from tasks.run.statuses import ENDPOINT
from tasks.run.waiting import say, wait_for
from tasks.serving.deployment import ensure_endpoint_role
from tasks.serving.endpoint import ensure_endpoint
from tasks.serving.packaging import serving_uri
from tasks.serving.releases import Release, Releases

WHERE = "promote"


@dataclass(frozen=True)
class Promotion(Record, file="promotion.json", called="promotion", made_by="promote"):
    """The latest change of a run's endpoint to another release; `steps` says how requests went to it.

    "begun" until its end is known, "rolled back" if it went back to an earlier release as was asked, "taken back" if
    AWS went back because of an alarm or a failure; `why` has AWS's reason. `is_rollback` is what was asked for.
    """

    release: Release
    config_name: str
    steps: str
    outcome: str
    why: str
    at: str
    is_rollback: bool


def now_text() -> str:
    """Return the time, UTC in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def releases_of(run: Run) -> Releases:
    """Return what the run's endpoint has served; at first that is the run's own model.

    Raises:
        SettingsRefused: the run has no trained model.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    kept = run.find(Releases)
    if kept is not None:
        return kept
    model, version, endpoint = run.need(TrainedModel), run.find(ModelVersion), run.find(EndpointRef)
    label = f"the model of run {run.id}" if version is None else version.label
    own = Release(
        package="",
        name="",
        label=label,
        trained_by=run.id,
        model_uri=serving_uri(run, model),
        image="",
        trained_uri=model.model_uri,
        at=(endpoint.created if endpoint is not None else "") or now_text(),
        why="deployed with the run",
    )
    return Releases((own,))


def find_release(run: Run, named: str, why: str) -> Release:
    """Return the version that is named: by its number in the group of the run's dataset, its ARN, or its run's id.

    Raises:
        SettingsRefused: there is no such version.
        AwsFailed: SageMaker refused.
    """
    with aws_boundary(f"version {named}"):
        found = _find(run, named)
    if found is None:
        none, lists = "the registry has none like it", "kennel models, which lists them"
        raise SettingsRefused(WHERE, f"version {named}", none, lists)
    version = found.as_version()
    return Release(
        package=version.arn,
        name=version.name,
        label=version.label,
        trained_by=version.run_id,
        model_uri=version.model_uri,
        image=version.image,
        trained_uri=version.trained_uri,
        at=now_text(),
        why=why,
    )


def _find(run: Run, named: str) -> ListedPackage | None:
    if named.startswith("arn:"):
        return describe_package(run.aws, named)
    if named.isdecimal():
        group = group_of(run, run.need(DatasetRef))
        return next((each for each in list_packages(run.aws, group) if each.version == int(named)), None)
    kept = RunFolder(run.settings.run_dir(named)).find(ModelVersion)
    return None if kept is None else describe_package(run.aws, kept.arn)


def release(run: Run, wanted: Release, rollout: Rollout, *, is_rollback: bool = False) -> Promotion:
    """Change the endpoint to a release in the steps of the rollout, and keep the outcome.

    Raises:
        StageFailed: AWS took it back; the error has its reason. The former release serves.
        SettingsRefused: the release cannot serve on these instances.
        WaitTimedOut: AWS did not finish in time; the next command finds out how it ended.
        AwsFailed: AWS refused.
    """
    plan = plan_of(run, wanted, rollout)
    for kind, name in wanted.resources:
        run.ledger.adopt(kind, name)
    plan = replace(plan, role_arn=ensure_endpoint_role(run, plan))
    begun = Promotion(wanted, plan.config_name, rollout.text, "begun", wanted.why, now_text(), is_rollback)
    run.keep(begun)
    say(f"promote: {wanted.label}: {rollout.text}")
    try:
        endpoint = ensure_endpoint(run, plan)
    except StageFailed as error:
        run.keep(_taken_back(run, begun, f"{error.what}: {error.why}"))
        raise
    except AwsFailed:
        if not is_changing(run):  # AWS refused the change, which says nothing about the model
            run.forget(Promotion)
        raise
    run.keep(endpoint)
    return _concluded(run, begun)


def is_changing(run: Run) -> bool:
    """Tell whether AWS changes the run's endpoint at this moment.

    Raises:
        AwsFailed: SageMaker refused.
    """
    found = present_endpoint(run.aws, run.need(EndpointRef).name)
    return found is not None and ENDPOINT.is_pending(str(found["EndpointStatus"]))


def settle_earlier(run: Run) -> Promotion | None:
    """Find out how a promotion ended whose command was killed, and keep it; None if there is none.

    Raises:
        WaitTimedOut: the endpoint is still being changed after half an hour.
        AwsFailed: AWS refused.
    """
    earlier = run.find(Promotion)
    if earlier is None or earlier.outcome != "begun":
        return None
    name = run.need(EndpointRef).name

    def probe() -> tuple[tuple[str, str] | None, str]:
        found = present_endpoint(run.aws, name) or {"EndpointStatus": "deleted", "EndpointConfigName": ""}
        status = str(found["EndpointStatus"])
        if status != "deleted" and ENDPOINT.is_pending(status):
            return None, f"{status}, by an earlier command"
        return (str(found["EndpointConfigName"]), str(found.get("FailureReason") or "AWS gave no reason")), status

    serving, reason = wait_for(run.aws.target, f"endpoint {name}", probe, deadline_seconds=1800.0)
    if serving == earlier.config_name:
        ended = _concluded(run, earlier)
    else:
        ended = _taken_back(run, earlier, f"its command ended before it; the endpoint serves {serving}: {reason}")
        run.keep(ended)
    say(f"promote: an earlier command had begun with {earlier.release.label}: {ended.outcome}")
    return ended


def _concluded(run: Run, begun: Promotion) -> Promotion:
    """Tell the registry, then keep the releases, then the end: a command that is killed in between does it again."""
    former, wanted = releases_of(run), begun.release
    _settle(run, wanted.package, APPROVED, begun.why)
    if former.serving.package != wanted.package:
        if begun.is_rollback:
            _settle(run, former.serving.package, REJECTED, f"rolled back: {begun.why}")
        run.keep(former.rolled_back() if begun.is_rollback else former.promoted(replace(wanted, at=now_text())))
    ended = replace(begun, outcome="rolled back" if begun.is_rollback else "promoted")
    run.keep(ended)
    return ended


def _taken_back(run: Run, begun: Promotion, why: str) -> Promotion:
    """Return the promotion that AWS took back, after marking the package with the reason."""
    _settle(run, begun.release.package, REJECTED, f"taken back: {why}")
    return replace(begun, outcome="taken back", why=why)


def _settle(run: Run, package: str, approval: str, reason: str) -> None:
    """Approve or reject a package; the run's own model has none, and one that was deleted meanwhile needs nothing."""
    if package:
        with aws_boundary(f"model package {package}"):
            none_if_missing(lambda: settle(run.aws, package, approval, reason))
