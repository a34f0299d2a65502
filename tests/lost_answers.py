"""A proxy's faults for every changing operation that it sees: the call is carried out, and its answer is lost.

The operations are found by recording: nothing lists them.
"""

import threading
from dataclasses import dataclass, field
from typing import Literal

from tests.aws_requests import Request, changes_something, full_name
from tests.counting_proxy import Calls, Fault

Loss = Literal["once", "exhausted"]
"""The answer to the first attempt is lost, so that botocore sends the call again; or the answers to all attempts."""


@dataclass
class LostAnswers(Calls):
    """Loses answers to the first call of every changing operation, or of the operations `only`.

    `lost` has (operation, the call's id): one call of each. `attempts` counts the attempts whose answers were lost.
    """

    loss: Loss | None = None
    only: frozenset[str] | None = None
    lost: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fault_for(self, operation: str, request: Request) -> Fault | None:
        """Return a fault that loses the answer, if it is this attempt's turn."""
        model = request.operation
        if model is None or not changes_something(model) or b"DryRun=true" in request.body:
            return super().fault_for(operation, request)
        name = full_name(model)
        with self._guard:
            self.recorded.add(name)
            if self.loss is None or (self.only is not None and name not in self.only):
                return None
            if self.lost.setdefault(name, request.invocation) != request.invocation:
                return None
            self.attempts[name] = self.attempts.get(name, 0) + 1
            return Fault(operation) if self.loss == "exhausted" or self.attempts[name] == 1 else None

    def forget(self, loss: Loss | None, only: frozenset[str] | None = None) -> None:
        """Begin anew with another loss."""
        self.loss, self.only = loss, only
        for kept in (self.lost, self.attempts, self.recorded, self.seen):
            kept.clear()
