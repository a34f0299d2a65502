"""Creates, adopts or updates a SageMaker endpoint with its model and endpoint configuration.

Models and configurations cannot change, so their names end in a hash of their content. The endpoint has one name for
each run and is updated. AWS's own waiters are not used, because they report an automatic rollback as success.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import Any

from tasks.account.lookup import none_if_missing, refuse_foreign, shown_tags, tags_to_dict
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import carried_out, true_or_none
from tasks.run.records import EndpointRef
from tasks.run.statuses import ENDPOINT
from tasks.run.waiting import (
    NOT_SHOWN,
    NOT_SHOWN_SECONDS,
    retry_until_known,
    retry_until_role_propagates,
    wait_for,
)
from tasks.serving.autoscaling import remove_autoscaling
from tasks.serving.endpoint_plan import VARIANT, EndpointPlan, endpoint_arn


def ensure_endpoint(run: Run, plan: EndpointPlan) -> EndpointRef:
    """Create or update the run's endpoint as planned and wait until it is in service; what fits already is not changed.

    Raises:
        StageFailed: the endpoint failed, or AWS rolled back to the former configuration; the error has FailureReason.
        WaitTimedOut: the endpoint was not in service within the plan's deadline.
        OwnershipRefused: an endpoint of that name does not have this run's tags.
        AwsFailed: SageMaker refused.
    """
    begun = time.perf_counter()
    with aws_boundary(f"endpoint {plan.endpoint_name}"):
        for each in (plan, plan.shadow):
            if each is not None:
                _ensure_model(run, each)
        _ensure_config(run, plan)
        description = _settled(run.aws, plan, "before the change")
        if description is not None:
            _refuse_foreign(run.aws, plan, description)
        if description is not None and description["EndpointStatus"] == "Failed":
            _delete_failed(run, plan)
            description = None
        if description is None:
            _create(run, plan)
        elif description["EndpointConfigName"] != plan.config_name:
            _update(run, plan, serving=str(description["EndpointConfigName"]))
        run.ledger.adopt("endpoint", plan.endpoint_name, endpoint_arn(run.aws, plan.run_id))
        served = _settled(run.aws, plan, "until it serves", is_new=description is None)
    return _checked(plan, served, time.perf_counter() - begun)


def keep_creation_seconds(endpoint: EndpointRef, kept: EndpointRef | None) -> EndpointRef:
    """Return the endpoint with the seconds that its creation took, rather than those that finding it again took."""
    if kept is None or not endpoint.created:
        return endpoint
    return kept if replace(endpoint, seconds=kept.seconds) == kept else endpoint


def _ensure_model(run: Run, plan: EndpointPlan) -> None:
    client, name = run.aws.client("sagemaker"), plan.model_name
    arn = _own_model(run.aws, plan)
    if arn is not None:
        run.ledger.adopt("model", name, arn)
        return
    with run.ledger.create("model", name, lambda: _own_model(run.aws, plan)) as row:
        answer = retry_until_role_propagates(
            run.aws.target,
            f"model {name}",
            lambda: client.create_model(
                ModelName=name,
                PrimaryContainer=plan.container,
                ExecutionRoleArn=plan.role_arn,
                Tags=run.aws.tag_list(plan.run_id),
                **plan.network,
            ),
        )
        row.identifier = answer["ModelArn"]


def _own_model(aws: Aws, plan: EndpointPlan) -> str | None:
    """Return the ARN of the plan's model, or None without one; refuse a model of that name with other content."""
    client, name = aws.client("sagemaker"), plan.model_name
    found = none_if_missing(lambda: client.describe_model(ModelName=name))
    if found is None:
        return None
    shown, wanted = found.get("PrimaryContainer", {}), plan.container
    if any(shown.get(field) != wanted[field] for field in wanted if field != "Environment"):
        raise _foreign(f"model {name}", "its artefact or image does not match the hash in its name")
    return str(found["ModelArn"])


def _ensure_config(run: Run, plan: EndpointPlan) -> None:
    client, name = run.aws.client("sagemaker"), plan.config_name
    arn = _own_config(run.aws, plan)
    if arn is not None:
        run.ledger.adopt("endpoint-config", name, arn)
        return
    with run.ledger.create("endpoint-config", name, lambda: _own_config(run.aws, plan)) as row:
        create = partial(
            client.create_endpoint_config,
            EndpointConfigName=name,
            ProductionVariants=plan.variants,
            Tags=run.aws.tag_list(plan.run_id),
            **plan.sealing,
            **plan.capturing,
            **plan.shadowing,
        )
        answer = retry_until_known(run.aws.target, f"endpoint configuration {name}", create)
        row.identifier = answer["EndpointConfigArn"]


def _own_config(aws: Aws, plan: EndpointPlan) -> str | None:
    """Return the ARN of the plan's configuration, or None without one; refuse one of that name for another model."""
    client, name = aws.client("sagemaker"), plan.config_name
    found = none_if_missing(lambda: client.describe_endpoint_config(EndpointConfigName=name))
    if found is None:
        return None
    if [variant.get("ModelName") for variant in found["ProductionVariants"]] != [plan.model_name]:
        raise _foreign(f"endpoint configuration {name}", "its model does not match the hash in its name")
    return str(found["EndpointConfigArn"])


def _create(run: Run, plan: EndpointPlan) -> None:
    with run.ledger.create("endpoint", plan.endpoint_name, lambda: _served_arn(run.aws, plan)) as row:
        create = partial(
            run.aws.client("sagemaker").create_endpoint,
            EndpointName=plan.endpoint_name,
            EndpointConfigName=plan.config_name,
            Tags=run.aws.tag_list(plan.run_id),
        )
        answer = retry_until_known(run.aws.target, f"endpoint {plan.endpoint_name}", create)
        row.identifier = answer["EndpointArn"]


def _served_arn(aws: Aws, plan: EndpointPlan) -> str | None:
    """Return the ARN of the run's endpoint if it has the planned configuration or is being changed, else None.

    No change was in progress before the call, so one that is now is the call's; `_checked` compares its result.
    """
    found = _describe_endpoint(aws, plan)
    if found is None:
        return None
    _refuse_foreign(aws, plan, found)
    is_changed = found["EndpointConfigName"] == plan.config_name or ENDPOINT.is_pending(found["EndpointStatus"])
    return str(found["EndpointArn"]) if is_changed else None


def _update(run: Run, plan: EndpointPlan, *, serving: str) -> None:
    """Update the endpoint to the new configuration. `serving` is the name of its present one.

    The instance count that autoscaling reached is kept, unless the planned count differs from that of the present
    configuration: AWS would then ignore the planned count. AWS refuses another instance type for a variant that is
    registered for scaling, so the variant is deregistered; measurements on the old type do not hold for the new one.
    """
    client = run.aws.client("sagemaker")
    former = none_if_missing(lambda: client.describe_endpoint_config(EndpointConfigName=serving)) or {}
    types = {variant.get("InstanceType") for variant in former.get("ProductionVariants", [])}
    if types - {plan.instance.instance_type, None}:
        remove_autoscaling(run, plan.endpoint_name, VARIANT)
    asked_for = [variant.get("InitialInstanceCount") for variant in former.get("ProductionVariants", [])]
    keeps_count = asked_for in ([], [plan.instance_count])
    with run.ledger.create("endpoint", plan.endpoint_name, lambda: _served_arn(run.aws, plan)) as row:
        update = partial(
            client.update_endpoint,
            EndpointName=plan.endpoint_name,
            EndpointConfigName=plan.config_name,
            RetainAllVariantProperties=keeps_count,
            **({} if plan.deployment is None else {"DeploymentConfig": plan.deployment}),
        )
        answer = retry_until_role_propagates(run.aws.target, f"endpoint {plan.endpoint_name}", update)
        row.identifier = answer["EndpointArn"]


def _delete_failed(run: Run, plan: EndpointPlan) -> None:
    """Delete an endpoint whose creation failed. AWS allows no other operation on it."""
    delete = partial(run.aws.client("sagemaker").delete_endpoint, EndpointName=plan.endpoint_name)
    carried_out(
        f"endpoint {plan.endpoint_name}",
        delete,
        lambda: true_or_none((_describe_endpoint(run.aws, plan) or {}).get("EndpointStatus") in {"Deleting", None}),
    )
    wait_for(
        run.aws.target,
        f"endpoint {plan.endpoint_name}",
        lambda: (True if _describe_endpoint(run.aws, plan) is None else None, "being deleted after a failure"),
        deadline_seconds=plan.deadline_seconds,
    )
    run.ledger.mark_removed("endpoint", plan.endpoint_name)


def _settled(aws: Aws, plan: EndpointPlan, when: str, *, is_new: bool = False) -> Mapping[str, Any] | None:
    """Wait until no change of the endpoint is in progress; return its description, or None without an endpoint.

    One that `is_new` may not be shown at first.
    """
    begun = time.monotonic()

    def probe() -> tuple[tuple[Mapping[str, Any] | None] | None, str]:
        description = _describe_endpoint(aws, plan)
        if description is None and is_new and time.monotonic() - begun < NOT_SHOWN_SECONDS:
            return None, NOT_SHOWN
        if description is None or ENDPOINT.has_settled(description["EndpointStatus"]):
            return (description,), "settled"
        return None, f"{description['EndpointStatus']} ({when})"

    what = f"endpoint {plan.endpoint_name}"
    return wait_for(aws.target, what, probe, deadline_seconds=plan.deadline_seconds, poll_seconds=0.5)[0]


def _describe_endpoint(aws: Aws, plan: EndpointPlan) -> Mapping[str, Any] | None:
    client = aws.client("sagemaker")
    found: Mapping[str, Any] | None = none_if_missing(lambda: client.describe_endpoint(EndpointName=plan.endpoint_name))
    return found


def _checked(plan: EndpointPlan, served: Mapping[str, Any] | None, seconds: float) -> EndpointRef:
    """Return the endpoint's record if it serves the planned configuration. A rolled-back endpoint is InService too."""
    where, logs = f"endpoint {plan.endpoint_name}", f"kennel logs {plan.run_id} --source endpoint"
    if served is None:
        why = "somebody deleted it while kennel waited for it"
        raise StageFailed(where, "the endpoint does not exist any more", why, "run the same command again")
    reason = str(served.get("FailureReason") or "AWS gave no reason")
    if not ENDPOINT.is_ready(served["EndpointStatus"]):
        raise StageFailed(where, f"it ended in status {served['EndpointStatus']}", reason, logs)
    if served["EndpointConfigName"] != plan.config_name:
        what = f"AWS rolled back: it serves {served['EndpointConfigName']}, not {plan.config_name}"
        raise StageFailed(where, what, reason, logs)
    variant, created = served["ProductionVariants"][0], served.get("CreationTime")
    return EndpointRef(
        name=plan.endpoint_name,
        arn=str(served["EndpointArn"]),
        config_name=plan.config_name,
        model_name=plan.model_name,
        variant=VARIANT,
        instance_type=plan.instance.instance_type,
        instance_count=int(variant.get("CurrentInstanceCount", plan.instance_count)),
        model_uri=plan.model_uri,
        seconds=round(seconds, 3),
        created=created.astimezone(UTC).isoformat() if created else "",
        capture_days=plan.capture.days if plan.capture else 0,
    )


def _refuse_foreign(aws: Aws, plan: EndpointPlan, description: Mapping[str, Any]) -> None:
    list_tags, arn = aws.client("sagemaker").list_tags, description["EndpointArn"]
    what = f"endpoint {plan.endpoint_name}"
    tags = shown_tags(aws, what, lambda: tags_to_dict(list_tags(ResourceArn=arn)["Tags"]))
    refuse_foreign(what, tags, plan.run_id)


def _foreign(what: str, why: str) -> OwnershipRefused:
    return OwnershipRefused(what, "it exists already", why, "run the same command with --run-id <another name>")
