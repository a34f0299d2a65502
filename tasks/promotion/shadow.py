"""Has a challenger get copies of an endpoint's requests, as a shadow variant that answers nobody, and ends that again.

Meanwhile the endpoint keeps all requests and the answers of both models in S3, in a folder of this challenger. That is
written down before the endpoint is changed: where a command was killed, the next one ends what it had begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tasks.account.encryption import encryption_of
from tasks.account.lookup import none_if_missing
from tasks.account.objects import bucket_and_key, delete_prefix
from tasks.account.role_policies import captured_prefix
from tasks.promotion.promote import now_text, releases_of
from tasks.promotion.rollout import plan_of, present_endpoint
from tasks.registry.packages import REJECTED, settle
from tasks.run.ending import refuse_when_ending
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.record_store import Record
from tasks.run.records import EndpointRef
from tasks.run.waiting import say
from tasks.serving.deployment import ensure_endpoint_role
from tasks.serving.endpoint import ensure_endpoint
from tasks.serving.endpoint_plan import Capture, EndpointPlan
from tasks.serving.releases import Release


@dataclass(frozen=True)
class ShadowPhase(Record, file="shadow.json", called="shadow of an endpoint", made_by="promote"):
    """The latest time in which a release got copies; `prefix` in `bucket` is where both models' answers were kept.

    `is_over` once the endpoint has its own configuration again and the prefix is empty.
    """

    release: Release
    config_name: str
    bucket: str
    prefix: str
    at: str
    is_over: bool


def shadow_plan(run: Run, wanted: Release) -> EndpointPlan:
    """Return the plan of the endpoint as it serves now, with the wanted release as its shadow and everything captured.

    It has no DeploymentConfig, with which AWS allows no other names of variants.

    Raises:
        SettingsRefused: the run has no endpoint, or the release cannot serve on its instances.
        AwsFailed: AWS refused.
    """
    serving, rival = (plan_of(run, each) for each in (releases_of(run).serving, wanted))
    bucket = bucket_and_key(serving.model_uri)[0]
    uri = f"s3://{bucket}/{captured_prefix(run.id)}/{rival.model_name}"
    return replace(serving, shadow=rival, capture=Capture(100, uri, encryption_of(run.aws, bucket).key_arn, days=1))


@contextmanager
def shadowing(run: Run, wanted: Release) -> Iterator[ShadowPhase]:
    """Have the wanted release get copies of the requests inside the block; in every ending they end with it.

    Raises:
        StageFailed: the release failed to start, and is rejected; the endpoint serves as before.
        WaitTimedOut: AWS did not finish a change in time.
        SettingsRefused, OwnershipRefused, AwsFailed: as `shadow_plan` and `ensure_endpoint`.
    """
    plan = shadow_plan(run, wanted)
    for kind, name in wanted.resources:
        run.ledger.adopt(kind, name)
    bucket, prefix = bucket_and_key(plan.capture.uri if plan.capture else "")
    phase = ShadowPhase(wanted, plan.config_name, bucket, prefix, now_text(), is_over=False)
    run.keep(phase)
    say(f"promote: {wanted.label} gets copies of the requests, and answers nobody")
    try:
        _start(run, plan, wanted)
        yield phase
    finally:
        end_shadow(run, phase)


def _start(run: Run, plan: EndpointPlan, wanted: Release) -> None:
    try:
        ensure_endpoint(run, replace(plan, role_arn=ensure_endpoint_role(run, plan)))
    except StageFailed as error:
        refuse_when_ending("rejection of", wanted.label)  # an interrupted command shows nothing about the model
        reject(run, wanted, f"{error.what}: {error.why}")
        raise


def reject(run: Run, wanted: Release, why: str) -> None:
    """Reject a release in the registry, with the reason; one whose package was deleted meanwhile needs nothing.

    Raises:
        AwsFailed: SageMaker refused.
    """
    if wanted.package:
        with aws_boundary(f"model package {wanted.package}"):
            none_if_missing(lambda: settle(run.aws, wanted.package, REJECTED, f"taken back: {why}"))


def end_shadow(run: Run, phase: ShadowPhase) -> None:
    """Give the endpoint its own configuration again, if it exists, and delete the answers that were kept.

    Raises:
        StageFailed: the endpoint failed while it was changed.
        WaitTimedOut: AWS did not finish the change in time.
        AwsFailed: AWS refused.
    """
    endpoint = run.find(EndpointRef)
    if endpoint is not None and present_endpoint(run.aws, endpoint.name) is not None:
        plan = plan_of(run, releases_of(run).serving)
        ensure_endpoint(run, plan)
        ensure_endpoint_role(run, plan)
    count = delete_prefix(run.aws, phase.bucket, f"{phase.prefix}/")
    run.keep(replace(phase, is_over=True))
    say(f"promote: no copies any more; {count} objects with kept requests deleted")


def settle_shadow(run: Run) -> ShadowPhase | None:
    """End the copies of a command that was killed; None if there are none.

    Raises:
        StageFailed, WaitTimedOut, AwsFailed: as `end_shadow`.
    """
    phase = run.find(ShadowPhase)
    if phase is None or phase.is_over:
        return None
    say(f"promote: an earlier command had {phase.release.label} get copies, and ended before it was judged")
    end_shadow(run, phase)
    return phase
