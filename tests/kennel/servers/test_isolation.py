"""What a shell of the user's may hold, and what of it reaches the work on this machine: proxies, AWS and Prefect."""

import contextlib
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests.utils
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from kennel.commands.up_down import shell_lines
from kennel.servers.environment import Environment
from kennel.servers.isolation import drop_unusable, foreign_names, isolate_aws, isolate_prefect, never_proxy_loopback
from tasks.run.settings import EMBEDDED_AWS, REAL_AWS, Target
from tests.kennel.shell import Terminal

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
LOCAL = ("http://127.0.0.1:4577", "http://localhost:4577", "ws://127.0.0.1:4578")


class Recorder:
    """A proxy that remembers what it was asked for, and answers with one content whatever the host."""

    def __init__(self, content: bytes) -> None:
        self.asked: list[str] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                recorder.asked.append(f"{self.command} {self.path}")
                self.send_response(200 if self.command == "GET" else 502)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Keep the test's output quiet."""

            do_GET = do_CONNECT = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815  names that http.server asks for

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextlib.contextmanager
def recording_proxy(content: bytes = b"") -> Iterator[Recorder]:
    recorder = Recorder(content)
    recorder.server.daemon_threads = True
    thread = threading.Thread(target=recorder.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield recorder
    finally:
        recorder.server.shutdown()
        thread.join()
        recorder.server.server_close()


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "corp.example"}, {"no_proxy": "corp.example,127.0.0.1"}])
def test_no_client_sends_loopback_to_the_proxy_and_all_send_the_rest_there(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**dict.fromkeys(PROXIES, "http://127.0.0.1:9"), **given}
    never_proxy_loopback(environment)
    for name in (*PROXIES, "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, environment[name])
    for url in LOCAL:
        assert urllib.request.proxy_bypass(url.partition("//")[2]), url
        assert get_environ_proxies(url) == {}
        assert requests.utils.get_environ_proxies(url) == {}
    assert get_environ_proxies("http://data.example/x.zip")["http"] == "http://127.0.0.1:9"
    with httpx.Client() as client:
        for url in LOCAL[:2]:
            assert client._transport_for_url(httpx.URL(url)) is client._transport
        assert client._transport_for_url(httpx.URL("http://data.example/x.zip")) is not client._transport
    assert ("corp.example" in environment["no_proxy"]) == bool(given)
    assert URLLib3Session(proxies=get_environ_proxies(LOCAL[0]))


def test_what_clients_cannot_use_is_dropped_by_name(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    usable = {
        "HTTP_PROXY": "proxy.example:3128",
        "https_proxy": "http://me:pw@proxy",
        "SSL_CERT_FILE": f"{tmp_path}/ca.pem",
    }
    unusable = {"ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks://h:1", "HTTPS_PROXY": "garbage://:x"}
    environment = {**usable, **unusable, "http_proxy": "http://h:x"}
    assert set(drop_unusable(environment)) == {*unusable, "http_proxy"}
    assert environment == usable
    environment["SSL_CERT_FILE"] = "/nope"
    assert drop_unusable(environment) == {"SSL_CERT_FILE": "there is no such file"}


def test_a_list_that_bypasses_every_proxy_stays_as_it_is() -> None:
    environment = {"NO_PROXY": "*"}
    never_proxy_loopback(environment)
    assert environment == {"NO_PROXY": "*", "no_proxy": "*"}


def test_of_the_users_aws_only_the_endpoint_and_its_keys_stay_and_of_prefect_nothing() -> None:
    kept = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "k", "AWS_REGION": "us-east-1", "HOME": "/h"}
    hostile = {"AWS_PROFILE": "prod", "AWS_ENDPOINT_URL_S3": "http://elsewhere", "AWS_CA_BUNDLE": "/nowhere"}
    environment = {**kept, **hostile, "PREFECT_PROFILE": "cloud", "PREFECT_API_KEY": "secret"}
    assert foreign_names(environment) == sorted(hostile)
    isolate_aws(environment)
    isolate_prefect(environment)
    files = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    assert environment == {**kept, **files}


@pytest.mark.parametrize(("target", "is_unset"), [(EMBEDDED_AWS, True), (REAL_AWS, False)])
def test_the_users_profile_is_unset_for_work_on_this_machine_only(
    tmp_path: Path, target: Target, is_unset: bool
) -> None:
    where = Environment(tmp_path, tmp_path, target, {"A": "b c", "KENNEL_OWNER": "x"})
    lines = shell_lines(where, ["AWS_PROFILE"])
    assert ("unset AWS_PROFILE;" in lines) == is_unset
    assert "export A='b c'" in lines and not any("KENNEL_OWNER" in line for line in lines)


def hostile_folder(folder: Path) -> Path:
    """Make a folder with modules of our names and of our libraries', and with settings of another Prefect server."""
    folder.mkdir()
    for module in ("tasks", "flows", "localaws", "yaml", "psutil", "prefect", "uvicorn"):
        (folder / f"{module}.py").write_text("raise SystemExit('a module of the current folder was imported')\n")
    (folder / ".env").write_text("PREFECT_API_KEY=secret\nPREFECT_CLIENT_MAX_RETRIES=no-number\n")
    (folder / "prefect.toml").write_text('[client]\nmax_retries = "no-number"\n')
    (folder / "pyproject.toml").write_text('[tool.prefect.api]\nkey = "secret"\n')
    return folder


IMPORTED = """
import os, pathlib, sys, threading
from kennel.servers.isolation import prefect_imported_in
with prefect_imported_in(pathlib.Path(os.environ["PREFECT_HOME"])):
    import flows.step
import prefect.settings
def show():
    print(prefect.settings.get_current_settings().api.key, prefect.settings.get_current_settings().client.max_retries)
show()
thread = threading.Thread(target=show)
thread.start()
thread.join()
print(pathlib.Path.cwd())
"""


def test_prefect_reads_no_settings_of_the_current_folder(tmp_path: Path) -> None:
    folder, home = hostile_folder(tmp_path / "project"), tmp_path / "prefect"
    home.mkdir()
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", {"PREFECT_HOME": str(home)})
    done = terminal.program("-P", "-c", IMPORTED, folder=folder)
    assert done.out.splitlines() == ["None 5", "None 5", str(folder)], done.err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_in_a_hostile_shell_reaches_its_servers_and_only_the_download_meets_the_proxy(
    tmp_path: Path, photos: Path
) -> None:
    """The data's host exists for the proxy alone; the run is killed when its data is staged."""
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for photo in photos.rglob("*.jpg"):
            file.write(photo, photo.relative_to(photos))
    with recording_proxy(archive.read_bytes()) as proxy:
        hostile = {
            **dict.fromkeys(PROXIES, proxy.url),
            "AWS_PROFILE": "no-such-profile",
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_ENDPOINT_URL_S3": "http://s3.example",
            "AWS_SESSION_TOKEN": "stale",
            "AWS_CA_BUNDLE": "/nowhere",
            "PREFECT_API_URL": "http://user:word@prefect.example/api",
            "PREFECT_API_KEY": "secret",
            "PREFECT_PROFILE": "no-such-profile",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://db.example/prefect",
        }
        folder = hostile_folder(tmp_path / "project")
        terminal = Terminal(tmp_path / "home", tmp_path / "runs", {**hostile, "PYTHONPATH": str(folder)})
        url = "http://data.example/x.zip"
        crash = {"KENNEL_CRASH_AT": "role:before"}
        run = ("run", "--data", url, "--run-id", "r", "--backbone", "efficientnet_lite0")
        done = terminal.program("-P", "-m", "kennel", *run, more=crash, folder=folder)
        exported = terminal.kennel("up")
        down = terminal.kennel("down", "--yes")
    assert done.code == -9, done.err
    assert (terminal.runs / "r" / "stage_data.json").exists()
    assert "PREFECT_API_URL=http://prefect.example/... is not used" in done.err
    assert {each for each in proxy.asked if "data.example" not in each} == set()
    assert f"GET {url}" in proxy.asked
    assert exported.out.startswith("unset AWS_CA_BUNDLE AWS_CONFIG_FILE AWS_ENDPOINT_URL_S3 AWS_PROFILE;")
    assert "export no_proxy=localhost,127.0.0.1,::1" in exported.out
    assert f"export KENNEL_HOME={terminal.home}" in exported.out
    assert down.code == 0, down.err
    assert terminal.processes() == []
