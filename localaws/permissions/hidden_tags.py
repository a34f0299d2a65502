"""GetFunction tells a function's tags only to whom may list them; to others it answers with TagsError in their place.

Source: botocore's model of Lambda, GetFunctionResponse: "Lambda returns tag data only if you have explicit allow
permissions for lambda:ListTags". The code and message of TagsError are those of Lambda's other refusals.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

from starlette.types import Send

from localaws.permissions.authority import Authority
from localaws.permissions.callers import Caller
from localaws.permissions.denials import sentence
from localaws.permissions.questions import Question
from localaws.policies.context import NOTHING

READ, LIST = "lambda:GetFunction", "lambda:ListTags"


class HidesTags:
    """Sends a reply to GetFunction, without the tags that the caller may not list."""

    def __init__(self, send: Send, authority: Authority, caller: Caller, read: Question) -> None:
        self._send, self._authority, self._caller, self._resource = send, authority, caller, read.resource
        self._start: MutableMapping[str, Any] = {}
        self._body = b""

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Take a message of the reply."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._answer()

    async def _answer(self) -> None:
        body = self._body if self._start["status"] != 200 else self._hidden()
        others = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        headers = [*others, (b"content-length", str(len(body)).encode())]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _hidden(self) -> bytes:
        decision = self._authority.would_decide(self._caller, Question(LIST, self._resource, "", NOTHING))
        answer = json.loads(self._body)
        if decision.is_allowed or "Tags" not in answer:
            return self._body
        del answer["Tags"]
        message = sentence(self._caller.principal, LIST, self._resource, decision)
        return json.dumps({**answer, "TagsError": {"ErrorCode": "AccessDeniedException", "Message": message}}).encode()
