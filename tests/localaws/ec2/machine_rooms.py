"""Machines without a control plane: a core on a home of its own, instances in it, and SSH clients to reach them."""

import contextlib
import io
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import paramiko
import psutil
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from localaws.core import Core
from localaws.ec2.machine import Ingress, Machine, Machines, MachineSpec
from localaws.process_tree import find_members
from localaws.processes import OWNER
from localaws.settings import Settings
from tests.localaws.ec2.ssh_client import banner, connected
from tests.polling import wait_until

SSH_FROM_CALLER = Ingress("tcp", 22, 22, ("127.0.0.1/32",), ())


def new_private_key() -> str:
    """Make an Ed25519 key, as OpenSSH writes it."""
    key = ed25519.Ed25519PrivateKey.generate()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def read_key(text: str) -> paramiko.Ed25519Key:
    """Return a private key from its text."""
    return paramiko.Ed25519Key.from_private_key(io.StringIO(text))


@dataclass
class Said:
    """What a command left: its exit status (-1: a signal ended it) and what it printed."""

    status: int
    output: str
    errors: str


@dataclass
class Guest:
    """A machine, what it told of itself, and short ways in."""

    machine: Machine
    key: paramiko.Ed25519Key
    ssh_port: int
    running: list[float] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)

    @property
    def private(self) -> str:
        return self.machine.spec.private_address

    @property
    def public(self) -> str:
        assert self.machine.spec.public_address
        return self.machine.spec.public_address

    def boot(self) -> "Guest":
        """Boot, and wait until it runs."""
        before = len(self.running)
        self.machine.boot()
        wait_until(lambda: len(self.running) > before or self.endings, "the instance runs")
        assert not self.endings, (self.endings, self.machine.console().decode())
        return self

    def client(self, key: paramiko.Ed25519Key | None = None) -> AbstractContextManager[paramiko.SSHClient]:
        """Connect by SSH as ubuntu."""
        return connected(self.public, self.ssh_port, key or self.key)

    def run(self, command: str) -> Said:
        """Run a command over a connection of its own."""
        with self.client() as client:
            return run(client, command)

    def greets(self) -> bool:
        """Return whether an SSH server answers at the public address."""
        with contextlib.suppress(ConnectionError):
            return banner(self.public, self.ssh_port) == b"SSH-"
        return False

    def until_says(self, text: str) -> str:
        """Wait until the console holds `text`; return what it holds."""
        wait_until(lambda: text in self.machine.console().decode(), f"the console says {text!r}")
        return self.machine.console().decode()


def run(client: paramiko.SSHClient, command: str) -> Said:
    """Run a command over a connection."""
    _, stdout, stderr = client.exec_command(command, timeout=30)
    output, errors = stdout.read().decode(), stderr.read().decode()
    return Said(stdout.channel.recv_exit_status(), output, errors)


class Rooms:
    """The machines of one server that has nothing else."""

    def __init__(self, home: Path, *, ssh_server: str, refusal: str | None = None, time_scale: float = 60.0) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        settings = Settings(home, port=port, ssh_server=ssh_server, time_scale=time_scale)
        self.core = Core(settings)
        self.machines = Machines(self.core, refusal=refusal)
        self.key = read_key(new_private_key())

    def guest(self, user_data: str | bytes = b"", **changes: Any) -> Guest:
        """Make an instance into which the caller may by SSH; it does not run yet."""
        private, public = self.machines.new_addresses()
        data = user_data.encode() if isinstance(user_data, str) else user_data
        public_key = f"ssh-ed25519 {self.key.get_base64()} test"
        spec = MachineSpec(
            instance_id=f"i-{uuid.uuid4().hex[:17]}",
            instance_type="c5.xlarge",
            ami_id="ami-0123456789abcdef0",
            availability_zone="us-east-1a",
            private_address=private,
            public_address=public,
            user_data=data,
            public_key=public_key,
            role_arn=None,
            profile_arn=None,
            requires_token=True,
            is_spot=False,
        )
        guest: Guest
        machine = self.machines.make(
            replace(spec, **changes),
            on_running=lambda: guest.running.append(time.monotonic()),
            on_ended=lambda reason: guest.endings.append(reason),
        )
        guest = Guest(machine, self.key, self.machines.ssh_port)
        machine.allow([SSH_FROM_CALLER])
        return guest

    def processes(self) -> list[psutil.Process]:
        """Return what runs of this server's, but for its gateway."""
        gateway = {process.pid for process in self.core.processes.running() if process.name == "ec2/gateway"}
        found = find_members(OWNER, self.core.settings.owner, set())
        return [each for each in found if each.pid not in gateway and not gateway & _parents(each)]

    def close(self) -> None:
        """End everything."""
        self.core.shutdown()


def _parents(process: psutil.Process) -> set[int]:
    """Return the process ids of its parents; of one that ended while it was looked at, those of nobody."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return {parent.pid for parent in process.parents()}
    return set()


@contextmanager
def rooms_at(home: Path, *, ssh_server: str, refusal: str | None = None) -> Iterator[Rooms]:
    """Yield the machines of a server; nothing of them runs afterwards."""
    rooms = Rooms(home, ssh_server=ssh_server, refusal=refusal)
    yield rooms
    rooms.close()
    assert not rooms.processes()
