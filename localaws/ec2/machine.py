"""One EC2 instance that really runs: the seam between the control plane (what the API says) and the execution.

Knows nothing of moto. A machine is a root folder under `home/instances/`, processes in namespaces of their own where the
kernel gives them, an SSH server, user data and instance metadata. States are the control plane's to tell: a machine
reports, by callbacks, what its processes did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from localaws.core import Core

CONSOLE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Ingress:
    """Who may reach which ports of a machine: one rule of a security group, with groups resolved to addresses.

    `protocol` is "tcp", "udp", "icmp" or "-1" (all); ports are inclusive. `cidrs` are callers from outside (the caller of
    localaws is 127.0.0.1), `peers` the private addresses of other instances.
    """

    protocol: str
    from_port: int
    to_port: int
    cidrs: tuple[str, ...]
    peers: tuple[str, ...]


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is made of. `user_data` is decoded; `public_key` is one line as in `authorized_keys`."""

    instance_id: str
    instance_type: str
    ami_id: str
    availability_zone: str
    private_address: str
    public_address: str | None
    user_data: bytes
    public_key: str | None
    role_arn: str | None
    profile_arn: str | None
    requires_token: bool
    is_spot: bool


class Machine:
    """One instance. Made by `Machines.make`."""

    def boot(self) -> None:
        """Start it and return at once; `on_running` is called when user data began and the SSH server greets."""
        raise NotImplementedError

    def allow(self, ingress: Sequence[Ingress]) -> None:
        """Let exactly these in, from now on and over restarts; nobody is before the first call."""
        raise NotImplementedError

    def console(self) -> bytes:
        """Return the last 64 KiB of the console's output, of all boots."""
        raise NotImplementedError

    def notify_interruption(self, action: str, at: datetime) -> None:
        """Have the instance's metadata announce a spot interruption: `action` ("terminate", "stop") at an aware time."""
        raise NotImplementedError

    def stop(self, grace_seconds: float) -> None:
        """End its processes (SIGTERM, `grace_seconds`, SIGKILL) and keep its folder; `boot` starts it again.

        Raises:
            StopFailed: something outlived SIGKILL.
        """
        raise NotImplementedError

    def destroy(self) -> None:
        """End its processes at once and remove its folder and addresses.

        Raises:
            StopFailed: something outlived SIGKILL.
        """
        raise NotImplementedError


class Machines:
    """The machines of one server. Making one starts nothing."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def new_addresses(self) -> tuple[str, str]:
        """Return a free private and a free public address; a machine that is destroyed gives its own back."""
        raise NotImplementedError

    def make(self, spec: MachineSpec, *, on_running: Callable[[], None], on_ended: Callable[[str], None]) -> Machine:
        """Make a machine that does not run yet.

        Both callbacks come from threads of the machine's own. `on_ended` gets "shutdown" when the instance shut itself
        down, else "crashed: …" with the reason; neither `stop` nor `destroy` calls it.
        """
        raise NotImplementedError
