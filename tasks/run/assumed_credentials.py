"""Keeps the temporary credentials of a profile's role on disk, so that its MFA code is asked only once.

It also tells how long credentials hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.credentials import JSONFileCache

CACHE = Path(".aws") / "cli" / "cache"
"""Where the aws CLI keeps them, below the user's home: a code that was given to the one counts for the other."""

_RENEWED = frozenset({"iam-role", "container-role", "custom-process", "assume-role-with-web-identity"})
"""The providers of botocore whose credentials are renewed without a person."""


@dataclass(frozen=True)
class CredentialLife:
    """How long credentials hold. `method`: botocore's name of their provider; `expires`: None if that is not known."""

    method: str
    is_temporary: bool
    is_renewed: bool
    expires: datetime | None


def keep_assumed_credentials(session: Any) -> Any:
    """Return the botocore session, which now keeps the credentials of an assumed role until they expire.

    The files have mode 0600. Without them botocore asks for the MFA code in every session: in each flow, in the
    SageMaker SDK's, and in each process of Locust, which has no terminal.
    """
    provider = session.get_component("credential_provider").get_provider("assume-role")
    provider.cache = JSONFileCache(str(Path.home() / CACHE))
    return session


def life_of(credentials: Any, *, asks_for_mfa: bool) -> CredentialLife:
    """Return how long botocore's credentials hold; those of a role are renewed too, unless that asks for an MFA code.

    It asks nobody: credentials that were not used yet may not know when they expire.
    """
    method, expires = str(credentials.method), getattr(credentials, "_expiry_time", None)  # botocore keeps it private
    is_renewed = method in _RENEWED or (method == "assume-role" and not asks_for_mfa)
    is_refreshable = hasattr(credentials, "_expiry_time")
    is_temporary = is_refreshable or credentials.token is not None  # the token of those would be asked for
    return CredentialLife(method, is_temporary, is_renewed, expires)
