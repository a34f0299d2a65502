"""The reasons of EC2 for a change of an instance's state, in AWS's words."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Reason:
    """Why an instance leaves a state: AWS's StateReason, and its StateTransitionReason."""

    code: str
    text: str
    transition: str = ""

    @property
    def message(self) -> str:
        """The message of the StateReason."""
        return f"{self.code}: {self.text}"


BY_ITSELF = Reason("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
SPOT_INTERRUPTION = Reason(
    "Server.SpotInstanceTermination", "Spot instance termination", "Server.SpotInstanceTermination"
)


def by_user() -> Reason:
    """Return the reason of what a caller of the API asked for now."""
    moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} GMT"
    return Reason("Client.UserInitiatedShutdown", "User initiated shutdown", f"User initiated ({moment})")


def by_fault(what: str, *, is_launch: bool) -> Reason:
    """Return the reason of an unexpected end: AWS's text, and what happened."""
    text = f"Internal error on launch ({what})" if is_launch else f"Internal error ({what})"
    return Reason("Server.InternalError", text, "Server.InternalError")
