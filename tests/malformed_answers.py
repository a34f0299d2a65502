"""A proxy's faults for every operation that it sees: the call is carried out, and its answer cannot be used.

The operations are found by recording, and each call of a reading one gets another kind of fault than the one before.
"""

import threading
from dataclasses import dataclass, field

from botocore.model import OperationModel

from tests.aws_requests import Request, changes_something, full_name
from tests.counting_proxy import Calls, Fault

PAGE = b"<html><body>Log in to use this network</body></html>"
PAGE_HEADERS = (("Content-Type", "text/html"),)
KINDS = ("cut", "page", "empty", "not found")


def malformed(model: OperationModel, operation: str, kind: str) -> Fault:
    """Return the fault that carries a call out and answers it in one of the `KINDS`."""
    if kind == "page":
        return Fault(operation, instead=(200, PAGE), headers=PAGE_HEADERS, is_carried_out=True)
    if kind == "not found":
        return Fault(operation, instead=(404, b""), is_carried_out=True)
    if kind == "cut":
        return Fault(operation, change=lambda content: content[: len(content) // 2])
    empty = b"{}" if "json" in model.service_model.protocol else b"<Empty/>"
    return Fault(operation, change=lambda content: empty if content else content)


@dataclass
class MalformedAnswers(Calls):
    """Spoils the answer to the first attempt of each operation's first calls, or every answer to the operations `only`.

    Of a changing operation that is one call, else as many as there are kinds. `spoilt` has the operations.
    """

    only: frozenset[str] | None = None
    kind: str = "empty"
    recorded: set[str] = field(default_factory=set)
    spoilt: set[str] = field(default_factory=set)
    _calls: dict[str, list[str]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fault_for(self, operation: str, request: Request) -> Fault | None:
        """Return a fault that spoils the answer, if it is this attempt's turn."""
        model = request.operation
        if model is None:
            return super().fault_for(operation, request)
        name = full_name(model)
        with self._guard:
            self.recorded.add(name)
            if self.only is not None:
                return malformed(model, operation, self.kind) if name in self.only else None
            calls = self._calls.setdefault(name, [])
            if request.invocation in calls or len(calls) == (1 if changes_something(model) else len(KINDS)):
                return None
            calls.append(request.invocation)
            self.spoilt.add(name)
            return malformed(model, operation, KINDS[(len(self._calls) + len(calls)) % len(KINDS)])
