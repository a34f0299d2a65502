"""The gate behind the signature's: a verified request gets on only if IAM allows what it asks for.

Nothing passes it by, neither moto's operations nor the services' own fast routes. The two that are asked most,
InvokeEndpoint and Lambda's Invoke, are named by their path alone: what is allowed in all circumstances is decided once
for a key and a path, until a policy changes.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from localaws.auth.keys import Keys
from localaws.auth.signature_gate import BODY, refuse
from localaws.auth.verifier import ANYONE, FORM, Signed
from localaws.errors import AwsError
from localaws.permissions import catalog, hidden_tags
from localaws.permissions.authority import Authority
from localaws.permissions.callers import Caller
from localaws.permissions.denials import denial
from localaws.permissions.hidden_tags import HidesTags
from localaws.permissions.missing_objects import READ, HidesMissing
from localaws.permissions.operations import ASKED, INVOCATIONS, SERVED, Asked, asked_in
from localaws.permissions.questions import (
    Place,
    Question,
    UnknownAction,
    deletions_of,
    is_decided_by_body,
    questions_of,
)
from localaws.permissions.throttle import Throttle
from localaws.permissions.usage import Count
from localaws.policies.context import Context
from localaws.request_feed import ALLOWED
from localaws.s3.queries import written_once

CALLER = "localaws.caller"  # in the scope: who asks
DECIDE = "localaws.decide"  # in the scope: what decides on a request to S3 when its body is there
DELETABLE = "localaws.deletable"  # in the scope: whether each object that a DeleteObjects names may be deleted
MOST_KEPT = 1024
_SENDING = ("POST", "PUT")
_GLOBAL = ("iam", "s3", "sts")  # one for all regions
_WITH_POLICIES = ("iam", "lambda")  # where requests change policies whose decisions are kept; S3's are read each time
_LOOKING = ("Read", "List")  # levels of access that change nothing
_INVOKING = ("sagemaker:InvokeEndpoint", "lambda:InvokeFunction")


class PermissionGate:
    """Asks the authority about each verified request, unless `throttle` refuses it.

    Anonymous reads of S3 are decided where they are answered.
    """

    def __init__(self, app: ASGIApp, authority: Authority, keys: Keys, throttle: Throttle | None = None) -> None:
        self._app, self._authority, self._keys, self._throttle = app, authority, keys, throttle
        self._place = Place(authority.account_id, authority.region)
        self._kept: dict[tuple[Any, ...], _Kept] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        signed: Signed | None = scope.get("localaws.signed")
        if signed is not None and signed.service == "s3":
            query = written_once(scope["query_string"])
            if query != scope["query_string"]:
                scope["query_string"] = query
                scope.pop(ASKED, None)  # it was read of the query as it had been written
        if signed is None or signed is ANYONE or self._authority.mode == "off":
            scope[DELETABLE] = itertools.repeat(self._authority.mode == "off")
            await self._app(scope, receive, send)
            return
        if scope["path"].endswith(INVOCATIONS) and self._is_kept(scope, signed):
            await self._app(scope, receive, send)
            return
        try:
            questions = self._check(scope, signed)
        except AwsError as error:
            await refuse(scope, error, None if BODY in scope else receive, send)
            return
        if signed.service in _WITH_POLICIES and not all(_changes_no_policy(each) for each in questions):
            send = self._telling(send)
        await self._answer(scope, receive, send, questions)

    def _is_kept(self, scope: Scope, signed: Signed) -> bool:
        """Return whether the same was allowed before, and nothing can have changed that; count it if so."""
        kept = self._kept.get(_same(scope, signed))
        if kept is None or kept.callers is not self._authority.callers.known():
            return False
        self._authority.usage.key_used(signed.access_key_id, signed.service)
        self._authority.usage.count(kept.count, is_allowed=True)
        scope[CALLER], scope[ALLOWED] = kept.caller, True
        return True

    def _keep(self, scope: Scope, signed: Signed, question: Question) -> None:
        """Keep the decision on an invocation if it is an allowed one that no circumstance changes."""
        callers = self._authority.callers.known()
        caller = self.caller_of(signed.access_key_id)
        if caller.keys[question.action]:
            return
        known = self._authority.known(caller, question)
        if known.is_constant and known.decision.is_allowed:
            self._kept = {} if len(self._kept) >= MOST_KEPT else self._kept
            self._kept[_same(scope, signed)] = _Kept(caller, known.count, callers)

    def _telling(self, send: Send) -> Send:
        """Return what sends a reply, and has policies read anew before the client sees its beginning."""

        async def tell_and_send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._authority.changed()
            await send(message)

        return tell_and_send

    async def _answer(self, scope: Scope, receive: Receive, send: Send, questions: tuple[Question, ...]) -> None:
        reads = [each for each in questions if each.action in (READ, hidden_tags.READ)]
        if not reads or not self._authority.is_enforcing:
            await self._app(scope, receive, send)
            return
        if reads[0].action == hidden_tags.READ:
            await self._app(scope, receive, HidesTags(send, self._authority, scope[CALLER], reads[0]))
            return
        hiding = HidesMissing(scope, send, self._authority, scope[CALLER], reads[0])
        await self._app(scope, receive, hiding)
        await hiding.finish()

    def _check(self, scope: Scope, signed: Signed) -> tuple[Question, ...]:
        service, is_form = signed.service, _header(scope, b"content-type").startswith(FORM)
        self._authority.usage.key_used(signed.access_key_id, service)
        caller = scope[CALLER] = self.caller_of(signed.access_key_id)
        try:
            if (
                service == "s3"
                and scope["method"] in _SENDING
                and is_decided_by_body(asked := asked_in(scope, service))
            ):
                scope[DECIDE] = functools.partial(self._decide, scope, asked)
                return ()
            questions = self._questions(scope, signed, caller)
        except UnknownAction as error:
            raise denial(service, str(error), is_form=is_form) from None
        if self._throttle is not None and questions:
            self._throttle.take(questions[0].action, service)
        scope[ALLOWED] = self._authority.check(caller, questions, service, is_form=is_form)
        if len(questions) == 1 and questions[0].action in _INVOKING:
            self._keep(scope, signed, questions[0])
        return questions

    def _decide(self, scope: Scope, asked: Asked, body: bytes) -> None:
        """Decide on a request to S3 that could not be without its body, which is as it will be carried out.

        Raises:
            AwsError: it is denied, or its body is not what the operation has.
        """
        caller, whole = scope[CALLER], replace(asked, body=body)
        try:
            if (by_object := deletions_of(whole, self._place)) is None:
                scope[ALLOWED] = self._authority.check(caller, questions_of(whole, self._place), "s3")
            else:
                scope[DELETABLE] = iter([self._lets(caller, each) for each in by_object])
        except UnknownAction as error:
            raise denial("s3", str(error)) from None

    def _lets(self, caller: Caller, questions: tuple[Question, ...]) -> bool:
        decisions = [self._authority.decide(caller, each).is_allowed for each in questions]
        return all(decisions) or not self._authority.is_enforcing

    def caller_of(self, access_key_id: str) -> Caller:
        """Return who has a key that was verified."""
        holder, callers = self._keys.holder(access_key_id), self._authority.callers
        if holder.session is not None:
            return callers.of_session(holder.session)
        return callers.of_user(holder.user_name) if holder.user_name is not None else callers.root()

    def _questions(self, scope: Scope, signed: Signed, caller: Caller) -> tuple[Question, ...]:
        service = signed.service
        if scope["path"].endswith(INVOCATIONS) and service in ("sagemaker", "lambda"):
            return _invocations(service, scope["method"], scope["raw_path"], scope["query_string"], self._place)
        if service not in SERVED:
            return ()  # the front answers that there is no such service
        asked = asked_in(scope, service).signed_by(caller.principal.arn)
        return questions_of(asked, self._place_of(signed))

    def _place_of(self, signed: Signed) -> Place:
        """Return where moto carries a request out: in the region that it was signed for, if the service has regions."""
        if signed.service in _GLOBAL or signed.region in ("", self._place.region):
            return self._place
        return replace(self._place, region=signed.region)


@dataclass(frozen=True)
class _Kept:
    """An invocation that is allowed; `callers`: what was known of all callers then, another object after a change."""

    caller: Caller
    count: Count
    callers: object


def _same(scope: Scope, signed: Signed) -> tuple[Any, ...]:
    """Return what tells an invocation."""
    return signed.access_key_id, signed.service, scope["method"], scope["raw_path"], scope["query_string"]


def _invocations(service: str, method: str, path: bytes, query: bytes, place: Place) -> tuple[Question, ...]:
    """Return what InvokeEndpoint or Lambda's Invoke asks, which path and query tell alone."""
    asked = Asked(service, method, path.decode("latin1"), query.decode("latin1"), {})
    every = enumerate(_named(service, method, asked.path, asked.query, place))
    return tuple(Question(*each, _looked_up(asked, number, place)) for number, each in every)


@functools.lru_cache(maxsize=MOST_KEPT)
def _named(service: str, method: str, path: str, query: str, place: Place) -> list[tuple[str, str, str]]:
    every = questions_of(Asked(service, method, path, query, {}), place)
    return [(each.action, each.resource, each.owner_id) for each in every]


def _looked_up(asked: Asked, number: int, place: Place) -> Context:
    """Return the circumstances of a question that is asked often; they are looked up when a policy asks for them."""
    return Context(sources=(lambda key: questions_of(asked, place)[number].context.get(key),))


def _changes_no_policy(question: Question) -> bool:
    action = catalog.find(question.action)
    return question.action in _INVOKING or (action is not None and action.level in _LOOKING)


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for each, value in scope["headers"] if each == name), b"")
