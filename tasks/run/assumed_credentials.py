"""Keeps the temporary credentials of a profile's role on disk, so that its MFA code is asked only once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore.credentials import JSONFileCache

CACHE = Path(".aws") / "cli" / "cache"
"""Where the aws CLI keeps them, below the user's home: a code that was given to the one counts for the other."""


def keep_assumed_credentials(session: Any) -> Any:
    """Return the botocore session, which now keeps the credentials of an assumed role until they expire.

    The files have mode 0600. Without them botocore asks for the MFA code in every session: in each flow, in the
    SageMaker SDK's, and in each process of Locust, which has no terminal.
    """
    provider = session.get_component("credential_provider").get_provider("assume-role")
    provider.cache = JSONFileCache(str(Path.home() / CACHE))
    return session
