"""Credentials for the processes that localaws starts: those of their role, from moto's STS, never the caller's."""

from typing import Any

from localaws.errors import NoSuchRole
from localaws.settings import Settings

SESSION_SECONDS = 12 * 3600


class Credentials:
    """Assumes roles as SageMaker, Lambda and EC2 do for what they run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def for_role(self, role_arn: str, session_name: str) -> dict[str, str]:
        """Return AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, valid for 12 hours.

        Raises:
            NoSuchRole: the role does not exist.
        """
        self._require(role_arn)
        assumed = self._sts().assume_role(
            region_name=self._settings.region,
            role_session_name=session_name[:64],
            role_arn=role_arn,
            policy=None,
            duration=SESSION_SECONDS,
            external_id=None,
        )
        return {
            "AWS_ACCESS_KEY_ID": assumed.access_key_id,
            "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
            "AWS_SESSION_TOKEN": assumed.session_token,
        }

    def child_environment(self, role_arn: str, session_name: str) -> dict[str, str]:
        """Return the role's credentials, the region and the endpoint: all that an AWS client in a child needs.

        Raises:
            NoSuchRole: the role does not exist.
        """
        settings = self._settings
        return {
            **self.for_role(role_arn, session_name),
            "AWS_DEFAULT_REGION": settings.region,
            "AWS_REGION": settings.region,
            "AWS_ENDPOINT_URL": settings.url,
        }

    def _require(self, role_arn: str) -> None:
        from moto.iam.models import iam_backends

        roles = iam_backends[self._settings.account_id]["aws"].roles.values()
        if role_arn not in {role.arn for role in roles}:
            raise NoSuchRole(role_arn)

    def _sts(self) -> Any:
        from moto.sts.models import sts_backends

        return sts_backends[self._settings.account_id]["aws"]
