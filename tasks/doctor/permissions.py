"""Whether the caller may do what kennel does: IAM simulates the operator's policy against the caller's own policies.

Nothing is called but the simulation. Resources that do not exist yet are named as kennel would name them. IAM evaluates
the policies of the user or role, its boundary and service control policies; it does not see resource control policies,
the policy of a role's session, and those of a VPC's endpoints.
Source: SimulatePrincipalPolicy and EvaluationResult in botocore's model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.account.operator_policy import BOUNDARY, OF_ALARMS, Account, operator_policies
from tasks.account.policy_documents import many
from tasks.doctor.examine import begin
from tasks.doctor.findings import Finding, fail, ok, skipped, warn
from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary

CHECK = "permissions"
MOST_NAMED = 4
EXAMPLE = "doctor"
"""What stands for the rest of a name that does not exist yet."""
NOT_SEEN = "resource control policies, a session's own policy and those of VPC endpoints are not seen"

AT_ONCE = 6
"""How many simulations are asked for at the same time: IAM throttles callers that ask for many."""

Denials = dict[str, bool]
"""The actions that are denied, and whether an organization's service control policy denies each."""


@dataclass(frozen=True)
class Question:
    """What one simulation is about: resources by their ARNs, and a condition key with its value, or none."""

    resources: tuple[str, ...]
    context: tuple[str, str] | None


Questions = dict[Question, dict[str, set[str]]]
"""The actions to ask each question about, with the features that need each."""


def permission_findings(aws: Aws) -> Iterator[Finding]:
    """Yield a row for each feature that lacks actions, or one that says that none does.

    Raises:
        AwsFailed: IAM refused, or did not answer.
    """
    with aws_boundary(CHECK):
        principal = principal_of(aws.caller_arn, aws.client("iam"))
    if principal is None:
        yield _not_simulated(aws)
        return
    questions = _questions(aws)
    parts = [list(questions)[number::AT_ONCE] for number in range(AT_ONCE)]
    begun = [begin(partial(_denials, aws, principal, {each: questions[each] for each in part})) for part in parts]
    denied: dict[str, Denials] = {}
    for future in begun:
        for feature, actions in future.result().items():
            denied.setdefault(feature, {}).update(actions)
    yield from (_denied(aws, feature, denied[feature]) for feature in sorted(denied))
    if not denied:
        number = len({action for actions in questions.values() for action in actions})
        yield ok(CHECK, f"all {number} actions of the operator's policy are allowed; {NOT_SEEN}")


def principal_of(caller_arn: str, iam: Any) -> str | None:
    """Return the ARN of the user or role whose policies hold for a caller; None for one whom IAM does not simulate.

    The ARN of a role's session lacks the role's path, so IAM is asked for the role.

    Raises:
        ClientError, BotoCoreError: IAM refused, or did not answer; the caller translates it.
    """
    kind, _, name = caller_arn.rpartition(":")[2].partition("/")
    if kind == "user":
        return caller_arn
    if kind != "assumed-role":
        return None
    return str(iam.get_role(RoleName=name.partition("/")[0])["Role"]["Arn"])


def _not_simulated(aws: Aws) -> Finding:
    who = aws.caller_arn.rpartition(":")[2]
    make = f"make a user or a role with the policies of kennel iam operator-policy --account {aws.account_id}"
    if who == "root":
        what = "the root user, whom IAM does not simulate, may do everything that the organization allows"
        return warn(CHECK, what, f"{make}, and use that")
    return skipped(CHECK, f"IAM simulates users and roles only, and {who} is neither", f"{make}, and use that")


def _questions(aws: Aws) -> Questions:
    """Return what to ask about the operator's policies; what several features need is asked once."""
    policies = operator_policies(Account(aws.account_id, aws.region, bucket=aws.settings.bucket or ""))
    found: Questions = {}
    for feature, document in policies.items():
        for statement in document["Statement"] if feature != BOUNDARY else ():
            if statement["Sid"] in OF_ALARMS:
                continue
            resources = tuple(dict.fromkeys(example(aws, each) for each in statement["Resource"]))
            for context in _contexts(statement.get("Condition", {})):
                for action in statement["Action"]:
                    found.setdefault(Question(resources, context), {}).setdefault(action, set()).add(feature)
    return found


def _denials(aws: Aws, principal: str, questions: Questions) -> dict[str, Denials]:
    """Return, by feature, the actions that are denied on one of their resources.

    Raises:
        AwsFailed: IAM refused, or did not answer.
    """
    found: dict[str, Denials] = {}
    with aws_boundary(CHECK):
        for question, actions in questions.items():
            for action, by_organization in _simulate(aws, principal, question, sorted(actions)).items():
                for feature in actions[action]:
                    found.setdefault(feature, {})[action] = by_organization
    return found


def _simulate(aws: Aws, principal: str, question: Question, actions: list[str]) -> Denials:
    pages = aws.client("iam").get_paginator("simulate_principal_policy")
    key, value = question.context or ("", "")
    entry = {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
    asked = {
        "PolicySourceArn": principal,
        "ActionNames": actions,
        "ResourceArns": list(question.resources),
        "ContextEntries": [entry] if question.context else [],
    }
    results = [result for page in pages.paginate(**asked) for result in page["EvaluationResults"]]
    return {
        str(each["EvalActionName"]): not each.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True)
        for each in results
        if each["EvalDecision"] != "allowed"
    }


def example(aws: Aws, resource: str) -> str:
    """Return a resource as kennel would name it for the pattern of a policy; "*" stays "*"."""
    head, is_s3, path = resource.partition(":s3:::")
    if is_s3:
        _, slash, key = path.partition("/")
        return f"{head}{is_s3}{aws.bucket}{slash}{key.replace('*', EXAMPLE)}"
    return resource if resource == "*" else resource.replace("*", EXAMPLE)


def _contexts(condition: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str] | None]:
    """Yield the circumstances in which a statement allows: its condition key with each of the values, or None."""
    if not condition:
        yield None
    for values in condition.values():
        yield from ((key, str(value)) for key, listed in values.items() for value in many(listed))


def _denied(aws: Aws, feature: str, actions: Denials) -> Finding:
    names = sorted(actions)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    seen = f"{feature}: denied: {', '.join(names[:MOST_NAMED])}{more}"
    if all(actions.values()):
        return fail(CHECK, f"{seen}, by a service control policy", "ask the organization's administrator to allow it")
    cure = f"kennel iam operator-policy {feature} --account {aws.account_id} --region {aws.region}, and attach that"
    return fail(CHECK, seen, cure)
