"""Which guardrails an update gets, and its CloudWatch alarms: whether they are there and whether one has tripped.

Whether AWS refuses an update whose alarms are missing or may not be read is documented, its words are not: they are
ours. An alarm that is removed while an update runs watches nothing any more.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from moto.sagemaker.exceptions import AWSValidationException

from localaws.cloudwatch.states import ALARM
from localaws.core import Core
from localaws.permissions.roles import Role
from localaws.sagemaker.endpoints.guardrails import Guardrails, check, check_names, parse, within_exclusions
from localaws.sagemaker.endpoints.plan import DeploymentPlan

ACTION = "cloudwatch:DescribeAlarms"


def checked_guardrails(
    core: Core, config: Mapping[str, Any] | None, plan: DeploymentPlan, live: DeploymentPlan | None = None
) -> Guardrails:
    """Return what a DeploymentConfig asks of an update from `live`, None of a new endpoint, to `plan`.

    Raises:
        AWSValidationException: something in it AWS does not allow, or not for these deployments.
    """
    guardrails = parse(config or {})
    check(guardrails, plan)
    if live and config:
        check_names([each.name for each in live.variants], [each.name for each in plan.variants])
    check_alarms(core, guardrails.alarms, [each.model.role_arn for each in plan.variants])
    return within_exclusions(guardrails, plan, *([live] if live else []))


def check_alarms(core: Core, names: Iterable[str], role_arns: Iterable[str]) -> None:
    """Refuse alarms that do not exist, or that the models' execution roles may not describe.

    Raises:
        AWSValidationException: naming the alarm, and the role.
    """
    for name in names:
        alarm = _alarms(core).get(name)
        if alarm is None:
            raise AWSValidationException(
                f'Could not find alarm "{name}" of AutoRollbackConfiguration in CloudWatch of region '
                f"{core.settings.region}."
            )
        for arn in sorted(set(role_arns)):
            if not Role(core.authority, arn, "SageMaker").may(ACTION, alarm.alarm_arn):
                raise AWSValidationException(
                    f'The execution role {arn} is not authorized to perform {ACTION} on the alarm "{name}" of '
                    "AutoRollbackConfiguration."
                )


def tripped(core: Core, names: Iterable[str]) -> str | None:
    """Return why an update has to be taken back, in a sentence; None if none of the alarms is in ALARM."""
    alarms = _alarms(core)
    for name in names:
        alarm = alarms.get(name)
        if alarm is not None and alarm.state_value == ALARM:
            return (
                f'The deployment was rolled back because the CloudWatch alarm "{name}" of AutoRollbackConfiguration '
                f"was in ALARM: {alarm.state_reason}"
            )
    return None


def _alarms(core: Core) -> dict[str, Any]:
    from moto.cloudwatch.models import cloudwatch_backends

    alarms: dict[str, Any] = cloudwatch_backends[core.settings.account_id][core.settings.region].alarms
    return alarms
