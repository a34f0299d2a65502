"""S3 tells that an object does not exist only to whom may list its bucket; all others get AccessDenied.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.types import Scope, Send

from localaws.auth.signature_gate import refuse
from localaws.partition import partition
from localaws.permissions.authority import Authority
from localaws.permissions.callers import Caller
from localaws.permissions.denials import denial, sentence
from localaws.permissions.questions import Question
from localaws.policies.context import NOTHING
from localaws.policies.decision import Decision

READ, LIST = "s3:GetObject", "s3:ListBucket"


class HidesMissing:
    """Sends a reply to a reading request, or the refusal in the place of a 404."""

    def __init__(self, scope: Scope, send: Send, authority: Authority, caller: Caller, read: Question) -> None:
        self._scope, self._send = scope, send
        self._authority, self._caller = authority, caller
        self._bucket = read.resource.rpartition(":::")[2].partition("/")[0]
        self._hidden: Decision | None = None

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Take a message of the reply."""
        if message["type"] == "http.response.start" and message["status"] == 404:
            self._hidden = self._denied()
        if self._hidden is None:
            await self._send(message)

    async def finish(self) -> None:
        """Send the refusal if the reply was hidden."""
        if self._hidden is not None:
            text = sentence(self._caller.principal, LIST, f"arn:{partition()}:s3:::{self._bucket}", self._hidden)
            await refuse(self._scope, denial("s3", text), None, self._send)

    def _denied(self) -> Decision | None:
        """Return the decision by which the caller may not list the bucket, None if it may or there is no bucket."""
        from moto.s3.models import s3_backends

        if self._bucket not in s3_backends[self._authority.account_id][partition()].buckets:
            return None
        listing = Question(LIST, f"arn:{partition()}:s3:::{self._bucket}", "", NOTHING)
        decision = self._authority.would_decide(self._caller, listing)
        return None if decision.is_allowed else decision
