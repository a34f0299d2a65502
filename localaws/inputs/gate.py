"""The gates around the one for permissions: before it a request's types are checked, behind it its values.

AWS reads a request before it decides on it, and looks at the values of those that may. InvokeEndpoint and Lambda's
Invoke pass both by: their own routes check what they take.
"""

import contextlib
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from localaws.auth.signature_gate import BODY, refuse
from localaws.auth.verifier import ANYONE
from localaws.errors import AwsError
from localaws.permissions.operations import INVOCATIONS, SERVED, Asked, UnknownOperation, asked_in

INVOKED = ("lambda", "sagemaker")
Check = Callable[[Asked], None]


class InputGate:
    """Lets a request on that passes `check`, which raises AwsError; one of an unknown operation is not looked at."""

    def __init__(self, app: ASGIApp, check: Check) -> None:
        self._app, self._check = app, check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._look(scope)
        except AwsError as error:
            await refuse(scope, error, None if BODY in scope else receive, send)
        else:
            await self._app(scope, receive, send)

    def _look(self, scope: Scope) -> None:
        signed = scope.get("localaws.signed")
        if signed is None or signed is ANYONE or signed.service not in SERVED:
            return
        if signed.service in INVOKED and scope["path"].endswith(INVOCATIONS):
            return
        with contextlib.suppress(UnknownOperation):  # the next gate, or who answers, says so
            self._check(asked_in(scope, signed.service))
