"""Credentials for the processes that localaws starts: those of their roles, from moto's STS, never the caller's.

A process may be started ahead of the AWS instance that it will become. Its keys are held until then, because on AWS it
would not exist yet: the front refuses a request that is signed with a held key and tells whoever started the process.
"""

import threading
from collections.abc import Callable
from datetime import UTC
from typing import Any

from localaws.auth.grants import GRANTED_SECONDS, Grant, Grants, Session, environment_of
from localaws.errors import NoSuchRole
from localaws.partition import partition
from localaws.permissions.propagation import Propagation
from localaws.policies.context import Context
from localaws.policies.trust import trusts
from localaws.settings import Settings

SESSION_SECONDS = 12 * 3600


class Credentials:
    """Assumes roles as SageMaker, Lambda and EC2 do for what they run."""

    def __init__(self, settings: Settings, propagation: Propagation | None = None) -> None:
        self._settings = settings
        self._propagation = propagation or Propagation()
        self._lock = threading.Lock()
        self.grants = Grants()
        self._held: dict[str, Callable[[], None]] = {}  # replaced, never changed: it is read without the lock

    def hold(self, access_key_id: str, on_use: Callable[[], None]) -> None:
        """Have requests signed with this key refused until `release`. `on_use` is called at each and must not block.

        It is called on the event loop of the front, which stands still meanwhile.
        """
        with self._lock:
            self._held = {**self._held, access_key_id: on_use}

    def release(self, access_key_id: str) -> None:
        """Let the key be used from now on; nothing happens if it is not held."""
        with self._lock:
            self._held = {key: on_use for key, on_use in self._held.items() if key != access_key_id}

    @property
    def are_held(self) -> bool:
        """Whether any key is held."""
        return bool(self._held)

    def refuses(self, access_key_id: str) -> bool:
        """Return whether the key is held; if it is, who holds it is told that it was used. Costs next to nothing."""
        on_use = self._held.get(access_key_id)
        if on_use is not None:
            on_use()
        return on_use is not None

    def require(self, role_arn: str, service: str, source_arn: str = "") -> None:
        """Raise NoSuchRole if the role does not exist or does not trust a service, as in "lambda.amazonaws.com".

        `source_arn`: the resource that the service uses the role for, if it tells that to the role's trust policy.
        """
        from moto.iam.models import iam_backends

        roles = list(iam_backends[self._settings.account_id][partition()].roles.values())
        role = next((each for each in roles if each.arn == role_arn), None)
        source = {"aws:SourceArn": [source_arn], "aws:SourceAccount": [self._settings.account_id]} if source_arn else {}
        if role is None or not self._propagation.is_seen(role_arn):
            raise NoSuchRole(role_arn)
        if not trusts(self._propagation.seen(role).assume_role_policy_document, service, Context(source)):
            raise NoSuchRole(role_arn)

    def for_role(
        self, role_arn: str, session_name: str, service: str, source_arn: str = "", *, seconds: int = SESSION_SECONDS
    ) -> Session:
        """Return credentials that are valid for so many real seconds.

        Raises:
            NoSuchRole: the role does not exist, or does not trust the service.
        """
        self.require(role_arn, service, source_arn)
        assumed = self._sts().assume_role(
            region_name=self._settings.region,
            role_session_name=session_name[:64],
            role_arn=role_arn,
            policy=None,
            duration=seconds,
            external_id=None,
        )
        return Session(
            assumed.access_key_id,
            assumed.secret_access_key,
            assumed.session_token,
            assumed.expiration.replace(tzinfo=UTC),
        )

    def child_environment(self, role_arn: str, session_name: str, service: str, source_arn: str) -> dict[str, str]:
        """Return the role's credentials for 12 hours, the region and the endpoint: all that an AWS client needs.

        As on AWS, a function's environment has them as variables, and does not live as long as they hold.

        Raises:
            NoSuchRole: the role does not exist, or does not trust the service.
        """
        given = self.for_role(role_arn, session_name, service, source_arn)
        return {
            "AWS_ACCESS_KEY_ID": given.access_key_id,
            "AWS_SECRET_ACCESS_KEY": given.secret_access_key,
            "AWS_SESSION_TOKEN": given.token,
            **self._place,
        }

    def grant(self, role_arn: str, session_name: str, service: str, source_arn: str) -> Grant:
        """Return a process's right to the role's credentials, which are renewed for as long as it lives.

        Raises:
            NoSuchRole: the role does not exist, or does not trust the service.
        """
        self.require(role_arn, service, source_arn)
        grant = Grant(
            lambda: self.for_role(role_arn, session_name, service, source_arn, seconds=GRANTED_SECONDS),
            hold=self.hold,
            release=self.release,
        )
        self.grants.add(grant)
        return grant

    def granted_environment(self, grant: Grant) -> dict[str, str]:
        """Return what an AWS client in a process with this grant needs."""
        return {**environment_of(grant, self._settings.url), **self._place}

    def end_grant(self, grant: Grant) -> None:
        """Answer the grant no more: its process has ended."""
        self.grants.remove(grant)
        grant.release()

    @property
    def _place(self) -> dict[str, str]:
        settings = self._settings
        return {
            "AWS_DEFAULT_REGION": settings.region,
            "AWS_REGION": settings.region,
            "AWS_ENDPOINT_URL": settings.url,
        }

    def _sts(self) -> Any:
        from moto.sts.models import sts_backends

        return sts_backends[self._settings.account_id][partition()]
