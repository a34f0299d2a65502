"""What a function cannot do to its neighbours: take their events, answer for them, read their files."""

import ctypes
import os
import secrets
from pathlib import Path

import pytest

from localaws.functions.runtime_api import RESPONSE_LIMIT_BYTES
from localaws.programs.container import CALLS
from tests.conftest import RunningLocalAws
from tests.localaws.functions.functions_kit import WHO, Functions
from tests.localaws.prying import (
    PRY,
    SECRET,
    forbidden,
    keeps_ports,
    keeps_signals_inside,
    kept,
    telling_its_secret,
)
from tests.localaws.sleepers import DAEMON, names, sleepers
from tests.polling import wait_until

VICTIM = """
import os
def handler(event, context):
    return {"port": os.environ["AWS_LAMBDA_RUNTIME_API"], "event": event}
"""
CALLER = """
import http.client, os, subprocess, sys
ASK = '''
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=10)
try:
    connection.request(sys.argv[2], "/2018-06-01/runtime/" + sys.argv[3], b"x" * int(sys.argv[4]))
    print(connection.getresponse().status)
except OSError as error:
    print(type(error).__name__)
'''
def handler(event, context):
    own = os.environ["AWS_LAMBDA_RUNTIME_API"]
    return [
        subprocess.run(
            [sys.executable, "-c", ASK, port or own, method, path, str(size)], capture_output=True, text=True,
            start_new_session=True,
        ).stdout.strip()
        for port, method, path, size in event["requests"]
    ]
"""


def test_a_function_can_neither_take_a_neighbours_event_nor_answer_for_it(functions: Functions) -> None:
    victim, attacker = functions.make(VICTIM), functions.make(CALLER)
    port = functions.invoke(victim)["Payload"]["port"]
    requests = [
        (port, "GET", "invocation/next", 0),
        (port, "POST", "init/error", 0),
        (port, "POST", "invocation/1/response", 0),
    ]
    assert functions.invoke(attacker, {"requests": requests})["Payload"] == ["403", "403", "403"]
    answer = functions.invoke(victim, {"still": "mine"})["Payload"]
    assert answer == {"port": port, "event": {"still": "mine"}}, "it serves on, in the same environment"


def test_a_stranger_cannot_fill_the_servers_memory_before_it_is_refused(functions: Functions) -> None:
    victim, attacker = functions.make(VICTIM), functions.make(CALLER)
    port = functions.invoke(victim)["Payload"]["port"]
    request = (port, "POST", "init/error", 2 * RESPONSE_LIMIT_BYTES)
    (outcome,) = functions.invoke(attacker, {"requests": [request]})["Payload"]
    assert outcome in ("403", "BrokenPipeError", "ConnectionResetError", "RemoteDisconnected")
    assert functions.invoke(victim)["Payload"]["port"] == port


def test_a_process_that_a_function_starts_counts_as_the_function(functions: Functions) -> None:
    name = functions.make(CALLER)
    asked = functions.invoke(name, {"requests": [(None, "POST", "invocation/unknown/response", 0)]})
    assert asked["Payload"] == ["400"], "the Runtime API heard it, and there is no such invocation"


@pytest.mark.usefixtures("needs_containers")
def test_a_function_reads_no_file_of_localaws_the_user_or_another_function(
    functions: Functions, localaws: RunningLocalAws
) -> None:
    other = functions.make("SECRET = 1\n" + WHO)
    pid = functions.invoke(other)["Payload"]["pid"]
    (code,) = [path for path in (localaws.home / "functions").rglob("handler.py") if "SECRET" in path.read_text()]
    paths = forbidden(localaws, more=[code, Path(f"/proc/{pid}/environ"), Path(f"/proc/{pid}/root/var/task")])
    prying = functions.make(PRY + "def handler(event, context):\n    return pry(event)\n", Timeout=60)
    assert functions.invoke(prying, paths)["Payload"] == []


@pytest.mark.usefixtures("needs_containers")
@pytest.mark.skipif(not keeps_signals_inside(), reason="Linux before 6.12")
def test_a_function_can_end_its_own_processes_and_no_others(functions: Functions, localaws: RunningLocalAws) -> None:
    pid = functions.invoke(functions.make())["Payload"]["pid"]
    name = functions.make(PRY + "def handler(e, c):\n    return [os.getpid(), signalled([*e, os.getpid()])]\n")
    own, reached = functions.invoke(name, [pid, localaws.pid])["Payload"]
    assert reached == [own]


@pytest.mark.usefixtures("needs_containers")
def test_a_function_gets_at_no_memory_message_key_device_or_port_of_the_user(functions: Functions) -> None:
    name = functions.make(PRY + "def handler(event, context):\n    return grabbed(event) + nested()\n")
    with kept() as given:
        assert functions.invoke(name, given)["Payload"] == ([] if keeps_ports() else ["a port"])


@pytest.mark.usefixtures("needs_containers")
@pytest.mark.skipif(os.uname().machine not in CALLS, reason="the numbers of the calls are not known")
def test_a_function_listens_nowhere(functions: Functions) -> None:
    source = "import socket\ndef handler(e, c):\n    try:\n        socket.socket().listen()\n"
    name = functions.make(source + "    except OSError as error:\n        return error.strerror\n")
    assert functions.invoke(name)["Payload"] == "Operation not permitted"


@pytest.mark.usefixtures("needs_containers")
def test_a_function_gets_at_no_memory_of_another_function(functions: Functions) -> None:
    source = "import ctypes\ndef handler(e, c):\n    return ctypes.CDLL(None).shmget(e, 16, {})\n"
    first, second = functions.make(source.format("0o1600")), functions.make(source.format("0"))
    number = secrets.randbelow(1 << 30) + 1
    assert functions.invoke(first, number)["Payload"] >= 0
    assert functions.invoke(second, number)["Payload"] == -1
    assert ctypes.CDLL(None).shmget(number, 0, 0) == -1


@pytest.mark.usefixtures("needs_process_tables")
def test_a_function_sees_only_processes_that_it_started(functions: Functions, localaws: RunningLocalAws) -> None:
    neighbour = functions.invoke(functions.make())["Payload"]["pid"]
    handler = "def handler(e, c):\n    return [os.getpid(), seen([*e, os.getpid()]), commands(), pry(FIRST)]\n"
    handler += f"FIRST = {[f'/proc/1/{name}' for name in ('environ', 'root', 'cwd', 'mem')]}\n"
    name = functions.make(PRY + handler, Timeout=60)
    with telling_its_secret() as secret:
        own, reached, commands, read_of_the_first = functions.invoke(name, [secret, neighbour, localaws.pid])["Payload"]
    assert reached == [own]
    assert commands.keys() == {"1", str(own)}, "process 1 and the runtime"
    assert commands["1"][-1].endswith("localaws/programs")
    assert SECRET not in str(commands)
    assert read_of_the_first == []


@pytest.mark.usefixtures("needs_process_tables")
def test_a_daemon_ends_with_its_environment(functions: Functions) -> None:
    name = functions.make(DAEMON + "def handler(e, c):\n    daemon(e)\n")
    (number,) = names(1)
    functions.invoke(name, number)
    wait_until(lambda: sleepers(number))
    functions.invoke(name, number)
    assert sleepers(number), "it lives as long as its environment"
    functions.aws.delete_function(FunctionName=name)
    assert not sleepers(number)


@pytest.mark.usefixtures("needs_containers")
def test_what_a_function_writes_to_tmp_stays_in_its_environment(functions: Functions) -> None:
    source = "import os\ndef handler(e, c):\n    open('/tmp/mine', 'a').write('x')\n    return os.listdir('/tmp')\n"
    first, second = functions.make(source), functions.make(source)
    assert [functions.invoke(name)["Payload"] for name in (first, second, first)] == [["mine"]] * 3
    assert not Path("/tmp/mine").exists()


def test_a_variable_of_the_loader_reaches_the_function_and_not_the_program_that_starts_it(
    functions: Functions,
) -> None:
    source = "import os\ndef handler(e, c):\n    return os.environ['LD_PRELOAD']\n"
    name = functions.make(source, Environment={"Variables": {"LD_PRELOAD": "/var/task/none.so"}})
    assert functions.invoke(name)["Payload"] == "/var/task/none.so"
