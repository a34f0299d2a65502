"""Prefect's server dies while a flow runs: that is said, and it comes back on its port or the command ends."""

import base64
import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from kennel.servers import prefect, processes
from kennel.servers.ports import free_port
from kennel.servers.prefect_watch import MOST_STARTS, PrefectWatch
from tasks.run.errors import StageFailed, WaitTimedOut
from tests.http_server import serving
from tests.kennel.shell import Terminal, prefer_own_prefect_port
from tests.polling import wait_until

OUTAGE = """
import os, signal, sys, time
from pathlib import Path
from kennel.servers import environment, prefect
from kennel.terminal import console
console.begin("outage")
where = environment.start_servers(lambda: environment.import_flow("flows.step"))
from prefect import flow
from flows.step import step
from kennel.commands.flow_run import run_flow
from tasks.run.artifacts import publish_markdown
@step("kill the server")
def kill() -> None:
    os.kill(prefect.named_server(where.home).pid, signal.SIGKILL)
@step("add")
def add(number: int) -> int:
    return number + 1
@flow
async def inner(number: int) -> int:
    await publish_markdown("loadtest", "dogs-1", "text", folder=where.home)
    return await add(number)
@flow
async def outer() -> int:
    await kill()
    return await inner(await add(1))
print(run_flow(outer(), where))
"""
LOST = """
import asyncio, os, signal, subprocess, sys
from kennel.commands.flow_run import run_flow
from kennel.servers import prefect, processes
from kennel.servers.environment import Environment
from kennel.terminal import console
from tasks.run.errors import StageFailed
from tasks.run.settings import REAL_AWS, Settings
settings = Settings.load()
os.environ["KENNEL_OWNER"] = processes.owner_of(settings.home)
sleep = ["/bin/sleep", "300"]
server = processes.spawn(settings.home, prefect.NAME, sleep, environment=os.environ, url=sys.argv[1])
async def flow():
    subprocess.Popen(sleep, start_new_session=True)
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.sleep(300)
console.begin("lost")
try:
    run_flow(flow(), Environment(settings.home, settings.runs, REAL_AWS, {}))
except StageFailed as error:
    os._exit(console.print_error(error, as_json=False))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_flow_whose_prefect_server_was_killed_ends_with_its_result(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", {"KENNEL_ACCOUNT_ID": "111111111111"})
    try:
        prefer_own_prefect_port(terminal.home)
        done = terminal.program("-c", OUTAGE)
    finally:
        processes.stop(terminal.home, prefect.NAME)
    assert (done.code, done.out) == (0, "3\n"), done.err
    assert "Prefect's server has ended" in done.err
    assert "answers again after" in done.err
    assert terminal.processes() == []


def test_a_server_whose_port_was_taken_ends_the_command_and_starts_elsewhere_with_another_password(
    tmp_path: Path,
) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    old = prefect.settings_for(terminal.home, "")["PREFECT_API_AUTH_STRING"]
    try:
        with impostor() as (url, heard):
            done = terminal.program("-c", LOST, url, more={"PREFECT_API_URL": prefect.api_url(url)})
        moved = processes.find(terminal.home, prefect.NAME)
        assert moved is not None and moved.url != url
        assert done.code == 9, done.err
        assert f"another program has its port ({url}); it starts at {moved.url}" in " ".join(done.err.split())
        assert prefect.settings_for(terminal.home, "")["PREFECT_API_AUTH_STRING"] != old
        assert heard == [], "nobody asked it anything"
    finally:
        processes.stop(terminal.home, prefect.NAME)
    assert terminal.processes() == [], "a helper of the flow was left"


def test_a_server_that_ends_each_time_ends_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = prefect.begin(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url(server.url))
    watch = PrefectWatch(tmp_path, print)
    try:
        for _ in range(MOST_STARTS):
            end(server)
            watch.look()
            server = last_of(tmp_path)
        end(server)
        with pytest.raises(StageFailed, match="it was started again 3 times and ended each time"):
            watch.look()
    finally:
        processes.stop(tmp_path, prefect.NAME)


def test_another_program_on_its_port_is_not_taken_for_the_server(tmp_path: Path) -> None:
    with impostor() as (url, heard):
        server = processes.spawn(tmp_path, prefect.NAME, ["/bin/sleep", "300"], environment=os.environ, url=url)
        try:
            assert prefect.answers(url) and heard.pop() is None
            assert not prefect.serves(server)
            with pytest.raises(WaitTimedOut):
                prefect.wait(server, deadline_seconds=0.2)
        finally:
            processes.stop(tmp_path, prefect.NAME)
        assert heard == []


@contextlib.contextmanager
def impostor() -> Iterator[tuple[str, list[str | None]]]:
    """Yield the address of a program that answers everything with 200, and the passwords that it was sent."""
    heard: list[str | None] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()

    with serving(Answer) as url:
        yield url, heard


def end(server: processes.BackgroundProcess) -> None:
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_alive, "its end")


def last_of(home: Path) -> processes.BackgroundProcess:
    server = processes.last(home, prefect.NAME)
    assert server is not None
    return server


def test_a_server_that_kennel_down_stopped_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url("http://127.0.0.1:1"))
    sleep = ["/bin/sleep", "300"]
    processes.spawn(tmp_path, prefect.NAME, sleep, environment=os.environ, url="http://127.0.0.1:1")
    watch = PrefectWatch(tmp_path, print)
    watch.look()
    assert processes.stop(tmp_path, prefect.NAME)
    with pytest.raises(StageFailed, match="kennel down stopped it"):
        watch.look()
    assert processes.find(tmp_path, prefect.NAME) is None


def test_a_server_whose_folder_was_removed_is_replaced(tmp_path: Path) -> None:
    """It asks for a password that nobody knows any more."""
    sleep = ["/bin/sleep", "300"]
    old = processes.spawn(tmp_path, prefect.NAME, sleep, environment={}, url="http://127.0.0.1:1")
    try:
        new = prefect.begin(tmp_path)
        assert not old.is_alive and new.is_alive and prefect.password_path(tmp_path).exists()
        assert prefect.begin(tmp_path) == new
    finally:
        processes.stop(tmp_path, prefect.NAME)


def test_a_new_server_takes_the_port_of_the_one_before_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    before = processes.spawn(tmp_path, prefect.NAME, ["/bin/true"], environment={}, url=f"http://127.0.0.1:{port}")
    wait_until(lambda: not before.is_alive, "its end")
    try:
        assert prefect.port_of(prefect.begin(tmp_path)) == port
    finally:
        processes.stop(tmp_path, prefect.NAME)


def test_a_server_that_ended_before_the_flow_began_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url(url))
    ended = processes.spawn(tmp_path, prefect.NAME, ["/bin/true"], environment={}, url=url)
    wait_until(lambda: not ended.is_alive, "its end")
    said: list[str] = []
    try:
        PrefectWatch(tmp_path, said.append).look()
    finally:
        processes.stop(tmp_path, prefect.NAME)
    assert "it is started again" in said[0]


def test_a_program_that_is_no_web_server_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"SSH-2.0-other\r\n\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert not prefect.answers(f"http://127.0.0.1:{port}")
        thread.join()


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_folder_that_is_removed_while_its_server_runs_is_made_anew(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    try:
        assert terminal.kennel("up").code == 0
        before = prefect.password_path(terminal.home).read_text()
        shutil.rmtree(terminal.home / "prefect")
        again = terminal.kennel("up")
        assert again.code == 0, again.err
        server, password = processes.find(terminal.home, prefect.NAME), prefect.password_path(terminal.home).read_text()
        assert server is not None and password != before
        key = base64.b64encode(password.encode()).decode()
        url = f"{server.url}/api/work_pools/kennel"
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {key}"})
        assert urllib.request.urlopen(request, timeout=60).status == 200
    finally:
        down = terminal.kennel("down", "--yes")
    assert down.code == 0 and terminal.processes() == []


def cut(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:5000])


@pytest.mark.parametrize("damage", [cut, lambda path: path.write_bytes(b"no database" * 500), Path.mkdir, os.mkfifo])
@pytest.mark.timeout(20)
def test_a_damaged_database_is_said_and_set_aside(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    database = prefect.folder(tmp_path) / "prefect.db"
    database.parent.mkdir()
    with contextlib.closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE flows (name TEXT)")
        made.executemany("INSERT INTO flows VALUES (?)", [("name" * 500,)] * 20)
        made.commit()
    assert prefect.database_damage(database) is None
    if damage in (Path.mkdir, os.mkfifo):
        database.unlink()
    damage(database)
    prefect._set_damaged_database_aside(tmp_path)
    assert not database.exists() and database.with_name("prefect.db.damaged-1").exists()
    prefect._set_damaged_database_aside(tmp_path)
    assert [path.name for path in database.parent.iterdir()] == ["prefect.db.damaged-1"]
