"""STS where moto answers with examples: who the root user is, and sessions that no key would be issued for."""

from typing import Any

from moto.sts.models import STSBackend
from moto.sts.responses import TokenResponse

_caller_of = STSBackend.get_caller_identity
_EXAMPLE_USER = ":user/moto"  # moto's answer for a key that is none of IAM's or STS's: the gate lets only root's pass


def get_caller_identity(self: STSBackend, access_key_id: str, region: str) -> tuple[str, str, str]:
    """Return the id, ARN and account of who signed."""
    user_id, arn, account_id = _caller_of(self, access_key_id, region)
    if arn.endswith(_EXAMPLE_USER):
        return account_id, f"arn:aws:iam::{account_id}:root", account_id
    return user_id, arn, account_id


def not_emulated(_: TokenResponse) -> Any:
    """Refuse an operation whose answer would be a key that opens nothing.

    Raises:
        NotImplementedError: always; the front names the operation.
    """
    raise NotImplementedError


def install_sessions() -> None:
    """Put these in the place of moto's."""
    STSBackend.get_caller_identity = get_caller_identity  # type: ignore[method-assign]
    TokenResponse.get_session_token = not_emulated  # type: ignore[method-assign, assignment]
    TokenResponse.get_federation_token = not_emulated  # type: ignore[method-assign, assignment]
