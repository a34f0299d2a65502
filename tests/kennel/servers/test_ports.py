"""Which port a server gets."""

import socket
import subprocess
import sys

from kennel.servers.ports import free_port
from tests.conftest import ROOT

CHOOSING = (
    "import sys; from kennel.servers.ports import free_port; print(free_port({port}), flush=True); sys.stdin.read()"
)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_preferred_port_is_taken_again_by_the_same_command() -> None:
    port = unused_port()
    assert [free_port(port), free_port(port)] == [port, port]


def test_a_port_that_another_program_has_is_not_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert free_port(other.getsockname()[1]) != other.getsockname()[1]


def test_two_commands_that_start_at_once_get_different_ports() -> None:
    """Neither's server listens yet."""
    port = unused_port()
    command = [sys.executable, "-c", CHOOSING.format(port=port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and int(first.stdout.readline()) == port
        assert free_port(port) not in {0, port}
        first.communicate("", timeout=60)
    assert free_port(port) == port, "the reservation ends with the command"
