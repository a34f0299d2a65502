"""Credentials of long-lived processes: asked for with a token, renewed before their end, refused while held."""

import asyncio
from datetime import UTC, datetime, timedelta

import botocore.session
import httpx
import pytest
from starlette.applications import Starlette

from localaws.auth.grants import GRANTED_SECONDS, Grant, Grants, Session, environment_of
from localaws.ec2.metadata import CREDENTIALS_PLACE, Identity, Metadata
from localaws.errors import NoSuchRole

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
"""When the first session begins; its time is not looked at by anything but the clock given."""


class Issuer:
    """Makes sessions by a clock that the test moves, and keeps which keys are held."""

    def __init__(self) -> None:
        self.now, self.made, self.held, self.is_gone = NOON, 0, set[str](), False

    def issue(self) -> Session:
        if self.is_gone:
            raise NoSuchRole("arn:role/r")
        self.made += 1
        return Session(f"ASIA{self.made}", "secret", "token", self.now + timedelta(seconds=GRANTED_SECONDS))

    def grant(self) -> Grant:
        return Grant(
            self.issue,
            hold=lambda key, _: self.held.add(key),
            release=self.held.discard,
            clock=lambda: self.now,
        )


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


def test_a_session_is_kept_until_half_an_hour_before_its_end(issuer: Issuer) -> None:
    grant = issuer.grant()
    assert grant.session().access_key_id == grant.session().access_key_id == "ASIA1"
    issuer.now += timedelta(minutes=29)
    assert grant.session().access_key_id == "ASIA1"
    issuer.now += timedelta(minutes=2)
    assert grant.session().access_key_id == "ASIA2" and grant.session().ends - issuer.now == timedelta(hours=1)


def test_keys_are_held_while_the_grant_is_and_released_with_it(issuer: Issuer) -> None:
    grant = issuer.grant()
    grant.hold(lambda: None)
    grant.session()
    assert issuer.held == {"ASIA1"}
    issuer.now += timedelta(minutes=31)
    grant.session()
    assert issuer.held == {"ASIA1", "ASIA2"}, "both are valid for a while"
    grant.release()
    assert issuer.held == set()
    issuer.now += timedelta(hours=1)
    grant.session()
    assert issuer.held == set()


def test_only_the_grants_token_is_answered(issuer: Issuer) -> None:
    grants, grant = Grants(), issuer.grant()
    grants.add(grant)
    app = Starlette(routes=[grants.route()])

    def get(path: str, headers: dict[str, str]) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())

    path = environment_of(grant, "")["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    right = {"Authorization": grant.token}
    shown = get(path, right).json()
    assert shown["AccessKeyId"] == "ASIA1" and shown["Expiration"] == "2026-11-28T13:00:00Z"
    for wrong in ({}, {"Authorization": "x"}, {"Authorization": f"Bearer {grant.token}"}):
        assert get(path, wrong).status_code == 401
    assert get("/_localaws/credentials/none", right).status_code == 401
    issuer.is_gone, issuer.now = True, NOON + timedelta(hours=1)
    assert get(path, right).json()["code"] == "NoSuchEntity"
    grants.remove(grant)
    assert get(path, right).status_code == 401


def test_an_instances_metadata_renews_what_it_tells_long_before_its_end() -> None:
    now, made = [NOON], []

    def for_role(_: str) -> Session:
        made.append(now[0])
        return Session(f"ASIA{len(made)}", "secret", "token", now[0] + timedelta(hours=12))

    identity = Identity({}, "arn:aws:iam::1:role/r", "arn:aws:iam::1:instance-profile/p", requires_token=True)
    metadata = Metadata(identity, for_role, clock=lambda: now[0])
    told = str(metadata.look_up(f"{CREDENTIALS_PLACE}r"))
    assert '"AccessKeyId": "ASIA1"' in told and '"Expiration": "2026-11-29T00:00:00Z"' in told
    now[0] += timedelta(hours=5, minutes=59)
    assert metadata.look_up(f"{CREDENTIALS_PLACE}r") != "" and len(made) == 1
    now[0] += timedelta(minutes=2)
    assert '"AccessKeyId": "ASIA2"' in str(metadata.look_up(f"{CREDENTIALS_PLACE}r"))


def test_botocores_own_provider_takes_them(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = issuer.grant()
    variables = environment_of(grant, "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    provider = botocore.session.get_session().get_component("credential_provider").get_provider("container-role")
    url = provider._environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    provider._fetcher._validate_allowed_url(url)
    assert provider._build_headers() == {"Authorization": grant.token}
