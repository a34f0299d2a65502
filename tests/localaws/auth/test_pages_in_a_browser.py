"""A page in a real browser cannot read, make or run anything of localaws: by another port, site or name (rebinding)."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.browser import FOREIGN, Browser, Tab, attack, empty_pages, needs_browser, running_browser
from tests.conftest import RunningLocalAws
from tests.localaws.functions.functions_kit import Functions

EVIL = "evil.example"
COUNTING = "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return n\n"
pytestmark = needs_browser


def signed(service: str) -> str:
    """Return the header that names a service; a page cannot know a key."""
    scope = f"localaws/20261128/us-east-1/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"


@dataclass(frozen=True)
class Target:
    """What a page asks for."""

    path: str
    body: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Room:
    """A bucket and a function that a page knows by name, and what it would like to have made."""

    server: RunningLocalAws
    functions: Functions
    name: str
    function: str

    @property
    def targets(self) -> list[Target]:
        model = json.dumps({"ModelName": self.name, "ExecutionRoleArn": self.functions.role, "PrimaryContainer": {}})
        trust = "%7B%7D"
        role = f"Action=CreateRole&Version=2010-05-08&RoleName={self.name}&AssumeRolePolicyDocument={trust}"
        sagemaker = {"X-Amz-Target": "SageMaker.CreateModel", "Content-Type": "application/x-amz-json-1.1"}
        return [
            Target(f"/{self.name}", "a=b", {"Authorization": signed("s3")}),
            Target("/", model.replace("{}", '{"Image": "="}'), sagemaker | {"Authorization": signed("sagemaker")}),
            Target("/iam", role, {"Authorization": signed("iam")}),
            Target(f"/2015-03-31/functions/{self.function}/invocations", '{"a": "="}', {}),
            Target("/_localaws/launch-failures?type=c7i.xlarge&count=1", "=", {"Content-Type": "application/json"}),
        ]

    def answers(self, tab: Tab, url: str) -> dict[str, list[int]]:
        """Ask for everything in every way; return the statuses by the way."""
        found = {
            (way, target.path): attack(tab, way, f"{url}{target.path}", target.body, target.headers)
            for target in self.targets
            for way in FOREIGN
        }
        return {f"{way} {path}": statuses for (way, path), statuses in found.items() if statuses != [403]}

    def made(self) -> list[str]:
        """Return what exists of what the page wanted; the function tells how often it ran before."""
        s3, iam = self.server.client("s3"), self.server.client("iam")
        objects = [each["Key"] for each in s3.list_objects_v2(Bucket=self.name).get("Contents", [])]
        models = self.server.client("sagemaker").list_models(NameContains=self.name)["Models"]
        roles = [role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"] == self.name]
        return [*objects, *(model["ModelName"] for model in models), *roles]


@pytest.fixture(scope="module")
def room(localaws: RunningLocalAws) -> Room:
    functions, name = Functions.of(localaws), f"pages-{uuid.uuid4().hex[:12]}"
    localaws.client("s3").create_bucket(Bucket=name)
    return Room(localaws, functions, name, functions.make(COUNTING))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser(EVIL) as browser:
        yield browser


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    with empty_pages() as port:
        yield port


@pytest.mark.parametrize("host", ["localhost", EVIL])
def test_a_page_of_another_origin_is_refused_whatever_it_sends(
    room: Room, browser: Browser, other_port: int, host: str
) -> None:
    tab = browser.open(f"http://{host}:{other_port}/")
    assert room.answers(tab, room.server.url) == {}
    assert room.made() == []


def test_a_name_that_resolves_to_this_machine_is_refused(room: Room, browser: Browser) -> None:
    """DNS rebinding: the page is of the server's own origin, by a name that its author controls."""
    url = f"http://{EVIL}:{room.server.url.rpartition(':')[2]}"
    tab = browser.open(url)
    assert "loopback hosts only" in tab.run("document.body.innerText")
    assert room.answers(tab, url) == {}
    assert room.made() == []


def test_what_a_page_may_not_do_a_program_may(room: Room) -> None:
    """The function has not run before; it is the last test of the module, after all pages."""
    assert room.functions.invoke(room.function)["Payload"] == 1
