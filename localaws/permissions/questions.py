"""From a verified request to the questions that IAM has to decide: actions, resources and their circumstances.

One operation may need several: each resource of a launch, roles that are passed, tags that are given with what is made.
All have to be allowed, but of DeleteObjects, where each object is decided by itself. Not asked: what AWS asks in the
caller's name later (Application Auto Scaling's alarms).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from localaws.permissions import catalog, s3_actions
from localaws.permissions.asking import Place as Place
from localaws.permissions.asking import Resource, Wanted
from localaws.permissions.budget_names import budgets_of
from localaws.permissions.callers_objects import used_by
from localaws.permissions.catalog import Action
from localaws.permissions.ec2_names import as_arns_do
from localaws.permissions.function_names import functions_of
from localaws.permissions.identity_names import identities_of
from localaws.permissions.key_names import keys_of
from localaws.permissions.launches import RUN, is_tagging, launch, tagged, tagging
from localaws.permissions.log_names import logs_of, tagged_log
from localaws.permissions.operations import SERVED, Asked, Operation, UnknownOperation
from localaws.permissions.parameter_paths import parameters_of
from localaws.permissions.parameters import Unreadable
from localaws.permissions.passed_roles import passed_in
from localaws.permissions.reduced import Elsewhere, check_here
from localaws.permissions.request_keys import context_of
from localaws.permissions.resources import resources_of
from localaws.permissions.s3_bodies import MANY, READING, check, has_document
from localaws.permissions.tags_by_arn import tagged_by_arn
from localaws.policies.context import Context
from localaws.policies.patterns import ARN_PARTS

FREE = {"sts:GetCallerIdentity", "sts:GetSessionToken"}
RENAMED = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "lambda:InvokeWithResponseStream": "lambda:InvokeFunction",
    **{
        f"budgets:{verb}{of}": "budgets:ModifyBudget"
        for verb in ("Create", "Update", "Delete")
        for of in ("Budget", "Notification", "Subscriber")
    },
    **{
        f"budgets:Describe{each}": "budgets:ViewBudget"
        for each in (
            *("Budget", "Budgets", "NotificationsForBudget", "SubscribersForNotification"),
            *("BudgetPerformanceHistory", "BudgetNotificationsForAccount"),
        )
    },
}
_ELSEWHERE = {"sts:AssumeRole"}  # what another account's may be asked for
_TAGGING = {
    "application-autoscaling": "application-autoscaling:TagResource",
    "budgets": "budgets:TagResource",
    "cloudwatch": "cloudwatch:TagResource",
    "kms": "kms:TagResource",
    "lambda": "lambda:TagResource",
    "logs": "logs:TagResource",
    "sagemaker": "sagemaker:AddTags",
    "ssm": "ssm:AddTagsToResource",
    "sts": "sts:TagSession",
}
_SPELLED = {"mfa": "MFADevice", "oidc-provider": "OpenIDConnectProvider", "saml-provider": "SAMLProvider"}
_TAG_ALREADY = ("Tag", "Untag", "AddTags", "RemoveTags", "DeleteTags", "ListTags")


class UnknownAction(LookupError):
    """localaws does not know the action or its resource, so nobody may do it; the message says so."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(message or f"localaws does not know the action {name}")
        self.name = name


@dataclass(frozen=True)
class Question:
    """One decision: an action on a resource's ARN ("*" if the action has none).

    `owner_id`: the account in the ARN, empty if there is none or it is AWS's own. `context`: the condition keys of the
    request; those that need a look-up get it when they are asked for.
    """

    action: str
    resource: str
    owner_id: str
    context: Context


def questions_of(asked: Asked, place: Place) -> tuple[Question, ...]:
    """Return what has to be allowed for a request, the operation's own action first; nothing for what is FREE.

    Raises:
        UnknownAction: the operation, or the action that it needs, is not known, or there is no question about it.
        AwsError: the service's own answer to a request that cannot be decided: a body or a name that is none.
    """
    try:
        operation = _with_arns_names(asked.operation, asked, place)
        every = {_identity(each): each for each in _wanted(operation, asked, place)}
        for each in every.values():
            if each.action not in _ELSEWHERE:
                check_here(each.action, each.resource.arn, place)
    except (UnknownOperation, Unreadable) as error:
        raise UnknownAction(str(error)) from None
    except Elsewhere as error:
        raise UnknownAction("", str(error)) from None
    if not every and _name(operation) not in FREE:
        raise UnknownAction(_name(operation))
    return tuple(_question(asked, operation, each, place) for each in every.values())


def is_decided_by_body(asked: Asked) -> bool:
    """Return whether a request to S3 can be decided only when its body is there.

    Raises:
        UnknownAction: the operation is not known.
    """
    name = _known_operation(asked).name
    return name != READING and has_document(name)


def deletions_of(asked: Asked, place: Place) -> list[tuple[Question, ...]] | None:
    """Return what each object of a DeleteObjects needs, in the body's order; None for another operation of S3's.

    Raises:
        UnknownAction: the operation is not known.
        AwsError: MalformedXML.
    """
    operation = _known_operation(asked)
    check(operation.name, asked.body)
    if operation.name != MANY:
        return None
    every = s3_actions.wanted_by_object(operation, asked, place)
    return [tuple(_question(asked, operation, one, place) for one in each) for each in every]


def _with_arns_names(operation: Operation, asked: Asked, place: Place) -> Operation:
    named = as_arns_do(operation, place) if operation.service == "ec2" else operation
    return replace(named, signer_arn=asked.signer_arn)


def _known_operation(asked: Asked) -> Operation:
    try:
        return asked.operation
    except UnknownOperation as error:
        raise UnknownAction(str(error)) from None


def _name(operation: Operation) -> str:
    return f"{SERVED[operation.service].prefix}:{operation.name}"


def _identity(wanted: Wanted) -> tuple[object, ...]:
    values = tuple((name, *each) for name, each in wanted.values.items())
    return wanted.action, wanted.resource, values


def _wanted(operation: Operation, asked: Asked, place: Place) -> Iterator[Wanted]:
    own = list(_own(operation, asked, place))
    yield from own
    if own and operation.service != "s3":
        yield from _given_tags(operation, own, place)
        yield from passed_in(operation, place)
        yield from used_by(operation, place)
        yield from tagged_by_arn(operation)


def _own(operation: Operation, asked: Asked, place: Place) -> Iterator[Wanted]:
    """Return what the operation itself needs."""
    prefix, name = SERVED[operation.service].prefix, _name(operation)
    if prefix == "s3":
        if operation.name not in s3_actions.KNOWN:
            raise UnknownAction(name)
        yield from s3_actions.wanted_of(operation, asked, place)
    elif name == RUN:
        yield from launch(operation, place)
    elif prefix == "ec2" and is_tagging(operation):
        yield from tagging(operation, place)
    elif name not in FREE:
        action = catalog.find(RENAMED.get(name, name))
        if action is None:
            raise UnknownAction(name)
        find = _FINDERS.get(prefix, resources_of)
        yield from (Wanted(action.name, each) for each in find(operation, action, place))


def _given_tags(operation: Operation, own: list[Wanted], place: Place) -> Iterator[Wanted]:
    """Return what tags need that are given as something is made."""
    prefix, parameters = SERVED[operation.service].prefix, operation.parameters
    if prefix == "ec2":
        yield from tagged(operation, own, place)
    elif prefix == "sts" and parameters.get("SourceIdentity"):
        yield Wanted("sts:SetSourceIdentity", own[0].resource)
    if not any(parameters.get(each) for each in ("Tags", "tags", "ResourceTags")) or operation.name.startswith(
        _TAG_ALREADY
    ):
        return
    resource = own[0].resource
    if prefix == "iam":
        spelled = "".join(each.capitalize() for each in resource.kind.split("-"))
        yield Wanted(f"iam:Tag{_SPELLED.get(resource.kind, spelled)}", resource)
    elif prefix in _TAGGING:
        yield Wanted(_TAGGING[prefix], tagged_log(resource) if prefix == "logs" else resource)


def _assumed(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the role of an AssumeRole, which may be another account's."""
    arn = operation.parameters.get("RoleArn")
    return [Resource("role", str(arn))] if arn else resources_of(operation, action, place)


_FINDERS = {
    "budgets": budgets_of,
    "iam": identities_of,
    "kms": keys_of,
    "lambda": functions_of,
    "logs": logs_of,
    "ssm": parameters_of,
    "sts": _assumed,
}


def _question(asked: Asked, operation: Operation, wanted: Wanted, place: Place) -> Question:
    parts = wanted.resource.arn.split(":", 5)
    owner_id = parts[4] if len(parts) == ARN_PARTS and parts[4].isdigit() else ""  # AWS's own policies: "aws"
    return Question(wanted.action, wanted.resource.arn, owner_id, context_of(asked, operation, wanted, place))
