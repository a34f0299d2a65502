"""Who may call a function URL: the two permissions that AWS asks for since October 2025.

Both `lambda:InvokeFunctionUrl` and `lambda:InvokeFunction` have to be allowed: to everyone, by the function's policy,
for AuthType NONE; to the caller, by its own policies or the function's, for AWS_IAM.
Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
"""

from __future__ import annotations

from localaws.errors import AwsError
from localaws.functions.url_config import UrlConfig
from localaws.functions.url_event import SignedBy
from localaws.hosts import SignedCaller
from localaws.permissions.authority import Authority
from localaws.permissions.circumstances import HERE, time_of
from localaws.permissions.questions import Question
from localaws.permissions.resource_policies import policy_on
from localaws.policies.context import Context
from localaws.policies.decision import ANYONE, Identity, Request, decide
from localaws.policies.documents import policy

FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
_NOBODY = {"aws:userid": ["anonymous"], "aws:principaltype": ["Anonymous"]}


class UrlAccess:
    """Decides on calls of one URL."""

    def __init__(self, authority: Authority, config: UrlConfig) -> None:
        self._authority, self._config = authority, config

    def is_public(self) -> bool:
        """Return whether the function's policy lets everyone call the URL."""
        return all(self._is_open(each) for each in self._questions())

    def check(self, signed: SignedCaller) -> SignedBy:
        """Return who calls, as the function is told.

        Raises:
            AwsError: it may not (403), if decisions are enforced.
        """
        caller, authority = signed.caller, self._authority
        if authority.mode != "off":
            decisions = [authority.decide(caller, each) for each in self._questions()]
            if authority.is_enforcing and not all(each.is_allowed for each in decisions):
                raise AwsError("AccessDeniedException", FORBIDDEN, status=403)
        user_id = caller.values.get("aws:userid", [""])[0]
        return SignedBy(signed.access_key_id, caller.principal.account_id, user_id, caller.principal.arn)

    def _is_open(self, question: Question) -> bool:
        found = policy_on(self._authority.account_id, question.action, question.resource)
        if found is None:
            return False
        context = Context({**HERE, **_NOBODY}, (question.context.get, time_of))
        request = Request(question.action, question.resource, context)
        return decide(ANYONE, Identity(), request, policy("resource policy", found.text)).is_allowed

    def _questions(self) -> tuple[Question, ...]:
        place = {"aws:requestedregion": [self._authority.region]}
        asked = (
            ("lambda:InvokeFunctionUrl", {"lambda:functionurlauthtype": [self._config.auth_type]}),
            ("lambda:InvokeFunction", {"lambda:invokedviafunctionurl": ["true"]}),
        )
        arn, owner_id = self._config.arn, self._authority.account_id
        return tuple(Question(action, arn, owner_id, Context({**place, **values})) for action, values in asked)
