"""The credential report, a row a user and one for the root user, with the true dates of keys; the account's summary.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
"""

import csv
import io
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse

from localaws.partition import partition

COLUMNS = (
    *("user", "arn", "user_creation_time"),
    *("password_enabled", "password_last_used", "password_last_changed", "password_next_rotation", "mfa_active"),
    *(
        f"access_key_{number}_{name}"
        for number in (1, 2)
        for name in ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
    ),
    *(f"cert_{number}_{name}" for number in (1, 2) for name in ("active", "last_rotated")),
)
NONE = "N/A"


def get_credential_report(self: IamResponse) -> ActionResult:
    """Answer with the report as it is now; one has to have been asked for.

    Raises:
        ReportNotPresentException: none was.
    """
    self.backend.get_credential_report()
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows([_of_root(self.backend), *map(_of_user, list(self.backend.users.values()))])
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ActionResult({"Content": text.getvalue(), "ReportFormat": "text/csv", "GeneratedTime": moment})


def get_account_summary(self: IamResponse) -> ActionResult:
    """Answer with moto's counts; the root user has no password, since there is no console."""
    counts = self.backend.get_account_summary().summary_map
    return ActionResult({"SummaryMap": {**counts, "AccountPasswordPresent": 0}})


def _of_root(backend: Any) -> dict[str, str]:
    return {
        **dict.fromkeys(COLUMNS, NONE),
        "user": "<root_account>",
        "arn": f"arn:{partition()}:iam::{backend.account_id}:root",
        "password_enabled": "not_supported",
        "password_last_changed": "not_supported",
        "password_next_rotation": "not_supported",
        **dict.fromkeys(("mfa_active", "cert_1_active", "cert_2_active"), "false"),
        **dict.fromkeys(("access_key_1_active", "access_key_2_active"), "false"),
    }


def _of_user(user: Any) -> dict[str, str]:
    has_password = bool(user.password)
    used = _shown(user.password_last_used) if user.password_last_used else "no_information"
    return {
        **dict.fromkeys(COLUMNS, NONE),
        "user": user.name,
        "arn": user.arn,
        "user_creation_time": _shown(user.create_date),
        "password_enabled": str(has_password).lower(),
        "password_last_used": used if has_password else NONE,
        "mfa_active": str(bool(user.mfa_devices)).lower(),
        **_of_key(1, user.access_keys),
        **_of_key(2, user.access_keys),
        **dict.fromkeys(("cert_1_active", "cert_2_active"), "false"),
    }


def _of_key(number: int, keys: list[Any]) -> dict[str, str]:
    name = f"access_key_{number}_"
    if len(keys) < number:
        return {f"{name}active": "false"}
    key = keys[number - 1]
    last = key.last_used
    used = {"date": _shown(last.timestamp), "region": last.region, "service": last.service} if last else {}
    return {
        f"{name}active": str(key.status == "Active").lower(),
        f"{name}last_rotated": _shown(key.create_date),
        **{f"{name}last_used_{what}": value for what, value in used.items()},
    }


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S+00:00")
