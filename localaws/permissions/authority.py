"""Decides on each request and on what services do in a role's name, and keeps the record of it.

Modes: `enforce` refuses what is denied; `record` decides and records, and lets everything pass; `off` does neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from localaws.partition import partition
from localaws.permissions.callers import Caller, Callers
from localaws.permissions.circumstances import HERE, time_of
from localaws.permissions.denials import denial, foreign_role, s3_sentence, sentence
from localaws.permissions.passed_roles import ACTION as PASS_ROLE
from localaws.permissions.propagation import Propagation
from localaws.permissions.questions import Question
from localaws.permissions.resource_policies import ResourcePolicy, policy_on
from localaws.permissions.usage import Count, Requested, Usage
from localaws.policies.context import Context, Source
from localaws.policies.decision import Decision, Request, decide
from localaws.policies.documents import policy
from localaws.policies.trust import ASSUME

MOST_DECISIONS = 4096  # that are kept for one caller


class Authority:
    """The account's IAM at work."""

    def __init__(self, account_id: str, region: str, mode: str, propagation: Propagation | None = None) -> None:
        self.account_id, self.region, self.mode = account_id, region, mode
        self.callers = Callers(account_id, propagation or Propagation())
        self.usage = Usage(region)

    @property
    def is_enforcing(self) -> bool:
        """Whether what is denied is refused."""
        return self.mode == "enforce"

    def changed(self) -> None:
        """Take note that a policy, a role or a user may have changed."""
        self.callers.forget()

    def check(self, caller: Caller, questions: Iterable[Question], service: str, *, is_form: bool = False) -> bool:
        """Decide and record each; return whether all are allowed. `service`: which answers, by its signing name.

        Raises:
            AwsError: the service's refusal of the first that is denied, if decisions are enforced.
        """
        are_allowed = True
        for each in questions:
            decision = self.decide(caller, each)
            are_allowed &= decision.is_allowed
            if each.action == ASSUME and caller.principal.is_root and self.is_enforcing:
                raise denial(service, "Roles may not be assumed by root accounts.")
            if each.action == PASS_ROLE and each.owner_id not in ("", self.account_id) and self.is_enforcing:
                raise foreign_role(service)
            if not decision.is_allowed and self.is_enforcing:
                is_code = service == "lambda" and each.action.startswith("s3:")
                text = sentence(caller.principal, each.action, each.resource, decision)
                raise denial(service, s3_sentence(each.resource) if is_code else text, is_form=is_form)
        return are_allowed

    def as_role(self, role_arn: str, session_name: str, question: Question) -> None:
        """Decide and record one thing that a service does in a role's name, with a session of it.

        Raises:
            AwsError: AccessDenied with AWS's sentence, if it is denied and decisions are enforced.
        """
        if self.mode != "off":
            self.check(self.callers.of_role(role_arn, session_name), [question], "sts")

    def lets_role(self, role_arn: str, session_name: str, question: Question) -> bool:
        """Decide and record one such thing; return whether it is to be done."""
        if self.mode == "off":
            return True
        is_allowed = self.decide(self.callers.of_role(role_arn, session_name), question).is_allowed
        return is_allowed or not self.is_enforcing

    def decide(self, caller: Caller, question: Question) -> Decision:
        """Return the decision, and record it."""
        known = self.known(caller, question)
        self.usage.count(known.count, is_allowed=known.decision.is_allowed)
        return known.decision

    def would_decide(self, caller: Caller, question: Question) -> Decision:
        """Return the decision on something that nobody asked for; it is not recorded."""
        return self.known(caller, question).decision

    def known(self, caller: Caller, question: Question) -> Known:
        """Return the decision and where it is counted, found once for equal circumstances."""
        found = policy_on(self.account_id, question.action, question.resource)
        keys = caller.keys[question.action]
        if found:
            keys |= policy("resource policy", found.text).keys(question.action)
        context = Context(HERE, (caller.values.get, question.context.get, time_of, self._owner_of(question)))
        shown = context.shown(keys) if keys else ()
        key = (question.action, question.resource, shown, found)
        known: Known | None = caller.decided.get(key)
        if known is None:
            request = Request(question.action, question.resource, context, question.owner_id)
            count = self.usage.count_of(caller.owner_arn, Requested(question.action, question.resource, shown))
            known = Known(_decide(caller, request, found), count, is_constant=not keys)
            if len(caller.decided) >= MOST_DECISIONS:
                caller.decided.clear()
            caller.decided[key] = known
        return known

    def _owner_of(self, question: Question) -> Source:
        """Return what tells whose the resource is; an ARN of AWS's own names no account, as one of a bucket."""
        is_own = question.resource == "*" or question.resource.startswith(f"arn:{partition()}:s3:::")
        owner_id = question.owner_id or (self.account_id if is_own else "")
        return lambda key: [owner_id] if owner_id and key == "aws:resourceaccount" else None


@dataclass(frozen=True)
class Known:
    """A decision, where requests like this are counted, and whether it is the same in all circumstances."""

    decision: Decision
    count: Count
    is_constant: bool


def _decide(caller: Caller, request: Request, found: ResourcePolicy | None) -> Decision:
    resource = policy("resource policy", found.text) if found else None
    is_trust = found is not None and found.is_trust
    return decide(caller.principal, caller.identity, request, resource, is_trust=is_trust)
