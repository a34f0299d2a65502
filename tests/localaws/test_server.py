"""The server as a program: starting, refusing, stopping; what it started never outlives it."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from localaws.control import client
from localaws.programs.container import CALLS
from localaws.record import ServerRecord, read_record
from tests.conftest import ROOT
from tests.localaws.outer_pid import processes_with
from tests.localaws.roles import make_role
from tests.localaws.sleepers import DAEMON, names, sleepers
from tests.polling import wait_until

PER_LINUX32 = 0x0008
FAMILY = (
    DAEMON
    + """
def handler(event, context):
    print("line of", event["name"])
    if event["number"]:
        daemon(event["number"])
    subprocess.Popen(["setsid", "sleep", "2001"], stdout=subprocess.DEVNULL)
    return os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
"""
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    run("stop", "--home", str(tmp_path / "home"))


@pytest.fixture
def server(home: Path) -> ServerRecord:
    started = run("start", "--home", str(home), "--port", "0")
    assert started.returncode == 0, started.stderr
    return record_of(home)


def test_start_prints_what_to_export_and_a_second_start_says_where_the_first_is(home: Path) -> None:
    started = run("start", "--home", str(home), "--port", "0")
    record = record_of(home)
    assert f"export AWS_ENDPOINT_URL={record.url}\n" in started.stdout
    again = run("start", "--home", str(home), "--port", "0")
    assert again.returncode == 1
    assert f"is already running with home {home} at {record.url} (pid {record.pid})" in again.stderr


def test_a_proxy_and_a_profile_of_the_shell_stay_out_of_calls_to_loopback(server: ServerRecord, home: Path) -> None:
    """Port 9 answers nothing, so a request that went to the proxy would fail."""
    shell = {"HTTP_PROXY": "http://127.0.0.1:9", "AWS_PROFILE": "no-such-profile", "AWS_CA_BUNDLE": "/nowhere"}
    status = run("status", "--home", str(home), **shell)
    assert status.returncode == 0, status.stderr
    assert status.stdout.startswith(f"localaws {server.url}")
    again = run("start", "--home", str(home), **shell)
    assert "is already running" in again.stderr, again.stderr


def test_starting_costs_less_than_three_seconds_of_cpu_and_loads_no_torch(server: ServerRecord) -> None:
    process = psutil.Process(server.pid)
    used = process.cpu_times()
    assert used.user + used.system < 3
    assert not [mapped.path for mapped in process.memory_maps() if "/torch/" in mapped.path]


def test_a_taken_port_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run("serve", "--home", str(home), "--port", str(port))
    assert refused.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port} (Address already in use)" in refused.stderr


def test_a_folder_that_is_not_its_home_keeps_what_it_holds(home: Path) -> None:
    (home / "functions").mkdir(parents=True)
    refused = run("serve", "--home", str(home), "--port", "0")
    assert refused.returncode == 1
    assert f"home {home} was not made by localaws, which would empty its folders functions" in refused.stderr
    assert (home / "functions").is_dir()


@pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="personalities are Linux's")
def test_a_processor_whose_system_calls_are_not_known_is_refused_by_name(home: Path) -> None:
    """A personality of 32 bits has the kernel tell another processor, and all processes that follow have it too."""
    program = f"""
import ctypes, os, sys
ctypes.CDLL(None).personality({PER_LINUX32})
print(os.uname().machine, flush=True)
os.execv(sys.executable, [sys.executable, "-m", "localaws", "serve", "--home", sys.argv[1], "--port", "0"])
"""
    command = [sys.executable, "-c", program, str(home)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    machine = done.stdout.strip()
    assert done.returncode == 1 and machine not in CALLS
    assert done.stderr.startswith(f"localaws: this machine's processor is {machine}, and the system calls")
    assert done.stderr.count("\n") == 1 and "use such a machine" in done.stderr and not home.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.com"])
def test_only_loopback_is_listened_on(home: Path, host: str) -> None:
    refused = run("--home", str(home), "--host", host)
    assert refused.returncode == 1
    assert f"host {host!r} is not a loopback address" in refused.stderr


def test_commands_without_a_server_say_so(home: Path) -> None:
    for command in ("status", "logs", "reset"):
        refused = run(command, "--home", str(home))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"no localaws server runs with home {home}; start one: python -m localaws start" in refused.stderr
    assert "was not running" in run("stop", "--home", str(home)).stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_all_that_it_started(home: Path, server: ServerRecord, number: int) -> None:
    family = start_family(server)
    os.kill(server.pid, number)
    wait_until(lambda: not is_running(server.pid))
    assert not any(map(is_running, family))
    assert read_record(home) is None


def test_what_the_server_adopts_and_ends_does_not_stay_as_a_zombie(server: ServerRecord) -> None:
    family = start_family(server, name="adopted")
    client(server, "lambda").delete_function(FunctionName="adopted")
    assert not any(map(is_running, family))
    wait_until(lambda: not psutil.Process(server.pid).children())


@pytest.mark.usefixtures("needs_process_tables")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_function_started_ends_with_the_server(server: ServerRecord, ending: int) -> None:
    (number,) = names(1)
    family = start_family(server, number=number)
    wait_until(lambda: sleepers(number))
    os.kill(server.pid, ending)
    wait_until(lambda: not any(map(is_running, family)) and not sleepers(number))


@pytest.mark.parametrize("command", [("start", "--port", "0"), ("stop",)], ids=["start", "stop"])
def test_after_kill_9_a_new_start_or_a_stop_ends_what_was_left(
    home: Path, server: ServerRecord, command: tuple[str, ...]
) -> None:
    family = start_family(server)
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(server.pid))
    assert run(*command, "--home", str(home)).returncode == 0
    assert not any(map(is_running, family))


def test_status_logs_and_reset_tell_what_is_there_and_clear_it(home: Path, server: ServerRecord) -> None:
    family = start_family(server, name="shown")
    client(server, "s3").create_bucket(Bucket="forgotten")
    status = run("status", "--home", str(home)).stdout
    assert "functions: 1\n  shown  Active" in status
    assert re.search(rf"^  {family[1]}  \d+ MiB  sleep 2001$", status, re.MULTILINE)
    assert "/aws/lambda/shown/" in run("logs", "/aws/lambda/sh", "--home", str(home)).stdout
    assert "line of shown" in run("logs", "--home", str(home)).stdout
    assert run("logs", "/aws/other", "--home", str(home)).stdout == ""

    assert run("reset", "--home", str(home)).returncode == 0
    assert not any(map(is_running, family))
    assert record_of(home).port == server.port
    assert record_of(home).generation != server.generation, "what it had is gone, so it is another AWS"
    assert client(server, "s3").list_buckets()["Buckets"] == []
    assert "functions: 0\ninstances: 0\nprocesses: 0\n" in run("status", "--home", str(home)).stdout


def test_logs_follow_shows_new_lines_until_it_is_interrupted(home: Path, server: ServerRecord) -> None:
    command = [sys.executable, "-m", "localaws", "logs", "/follow", "--follow", "--home", str(home)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        logs = client(server, "logs")
        logs.create_log_group(logGroupName="/follow/me")
        logs.create_log_stream(logGroupName="/follow/me", logStreamName="one")
        for text, shown in (("first", "first"), ("\x1b[2Jsecond", r"\x1b[2Jsecond")):
            event = {"timestamp": int(time.time() * 1000), "message": text}
            logs.put_log_events(logGroupName="/follow/me", logStreamName="one", logEvents=[event])
            assert follower.stdout.readline().rstrip().endswith(f"/follow/me/one {shown}")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 130


def start_family(server: ServerRecord, name: str = "family", *, number: int = 0) -> list[int]:
    """Have a function start a grandchild in a session of its own; return the process ids of both.

    `number`: of a sleeper that it leaves as a daemon, which only the end of a process table ends.
    """
    role = make_role(client(server, "iam"), name, "lambda")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", FAMILY)
    functions = client(server, "lambda")
    functions.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="handler.handler",
        Code={"ZipFile": package.getvalue()},
    )
    reply = functions.invoke(FunctionName=name, Payload=json.dumps({"name": name, "number": number}))
    stream = json.loads(reply["Payload"].read())
    return [process.pid for process in wait_until(lambda: processes_with(stream), holds=lambda found: len(found) == 2)]


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command, environment = [sys.executable, "-m", "localaws", *arguments], {**os.environ, **more}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def record_of(home: Path) -> ServerRecord:
    record = read_record(home)
    assert record is not None
    return record


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
