"""Whether the key of KMS that the settings name exists and can be used."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.account.encryption import require_key
from tasks.doctor.findings import Finding, fail, ok
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused

CHECK = "key"


def key_findings(aws: Aws) -> Iterator[Finding]:
    """Yield whether the key serves; nothing without one.

    Raises:
        AwsFailed: KMS refused, or did not answer.
    """
    if aws.settings.kms_key is None:
        return
    try:
        require_key(aws)
    except SettingsRefused as error:
        yield fail(CHECK, f"{error.what}: {error.why}", error.next_command)
    else:
        yield ok(CHECK, f"{aws.settings.kms_key} can be used")
