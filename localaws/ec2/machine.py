"""One EC2 instance that really runs, for a control plane that knows only its interface.

This module knows nothing of moto. A machine is a folder under `home/instances/`, processes in namespaces of their own
where the kernel provides them, an SSH server, user data and instance metadata. A machine reports what its processes
did by callbacks; the control plane derives the instance's state from that.
"""

import contextlib
import ipaddress
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from localaws.core import Core
from localaws.ec2.addresses import Addresses, choose_ssh_port
from localaws.ec2.boot import END_SECONDS, REBOOT, STOPPED, Boot, Listener
from localaws.ec2.instance_files import InstanceFiles
from localaws.ec2.metadata import Metadata
from localaws.ec2.network import Network, NetworkFailed
from localaws.ec2.spec import Ingress, MachineSpec
from localaws.errors import StopFailed
from localaws.folders import remove_folder
from localaws.programs.allowed_traffic import ANY_PORT, PROTOCOLS, AllowedTraffic
from localaws.programs.layout import SSH_PORT

__all__ = ["CONSOLE_BYTES", "Ingress", "Machine", "MachineSpec", "Machines"]

CONSOLE_BYTES = 64 * 1024
CALLER = ipaddress.IPv4Address("127.0.0.1")
PROTOCOL_NUMBERS = {str(number): name for name, number in PROTOCOLS.items() if number}


class Machines:
    """The machines of one server. Making one starts nothing, and removes what a former server left in the home.

    `refusal` has instances run without namespaces, for the reason given; None finds out whether they can have them.
    """

    def __init__(self, core: Core, *, refusal: str | None = None) -> None:
        settings = core.settings
        self._core = core
        self._folder = settings.home / "instances"
        remove_folder(self._folder)
        self.ssh_port = settings.ssh_port or choose_ssh_port(settings.owner)
        self._addresses = Addresses(settings.owner, self.ssh_port)
        self._network = Network(core, self._folder / "network", refusal=refusal)
        self._lock = threading.Lock()
        self._machines: dict[str, Machine] = {}
        core.on_shutdown(self._close)

    def new_addresses(self) -> tuple[str, str]:
        """Return a free private and a free public address; a machine that is destroyed gives its own back.

        Starts the network (0.5 s) the first time. Without namespaces both are the same.

        Raises:
            NoAddress: this machine has no such addresses, or all are in use.
            NetworkFailed: the network does not start.
        """
        self._network.start()
        return self._addresses.new(is_shared=self._network.refusal is not None)

    @property
    def refusal(self) -> str | None:
        """Why instances have no namespaces, None if they have; known once there were addresses."""
        return self._network.refusal

    def make(self, spec: MachineSpec, *, on_running: Callable[[], None], on_ended: Callable[[str], None]) -> "Machine":
        """Make a machine that does not run yet.

        Both callbacks come from a thread of the machine's own. `on_ended` gets "shutdown" when the instance shut itself
        down, else "crashed: …" with the reason; neither `stop` nor `destroy` calls it.
        """
        folder = self._folder / spec.instance_id
        folder.mkdir(parents=True)
        machine = Machine(
            spec,
            folder,
            core=self._core,
            network=self._network,
            ssh_port=self.ssh_port,
            on_running=on_running,
            on_ended=on_ended,
            on_destroyed=lambda: self._forget(spec),
        )
        with self._lock:
            self._machines[spec.instance_id] = machine
        return machine

    def _forget(self, spec: MachineSpec) -> None:
        self._addresses.give_back(spec.private_address, spec.public_address)
        with self._lock:
            self._machines.pop(spec.instance_id, None)

    def _close(self) -> None:
        """Report no end from now on; the processes end with all others of the server."""
        with self._lock:
            machines = list(self._machines.values())
        for machine in machines:
            machine.abandon()
        self._network.stop()


class Machine:
    """One instance. Made by `Machines.make`."""

    def __init__(
        self,
        spec: MachineSpec,
        folder: Path,
        *,
        core: Core,
        network: Network,
        ssh_port: int,
        on_running: Callable[[], None],
        on_ended: Callable[[str], None],
        on_destroyed: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._folder = folder
        self._core = core
        self._network = network
        self._door = (spec.public_address, ssh_port) if spec.public_address else None
        self._on_running = on_running
        self._on_ended = on_ended
        self._on_destroyed = on_destroyed
        self._lock = threading.RLock()
        self._ingress: tuple[Ingress, ...] = ()
        self._ssh_address: tuple[str, int] | None = None
        self._metadata: Metadata | None = None
        self._boot: Boot | None = None
        self._thread: threading.Thread | None = None

    def boot(self) -> None:
        """Start it and return at once; `on_running` is called when user data began and the SSH server greets.

        An instance whose SSH server does not greet within 30 s is running too, as on AWS.
        """
        with self._lock:
            if self._boot is not None:
                return
            boot = self._boot = self._new_boot()
            name = f"instance {self.spec.instance_id}"
            self._thread = threading.Thread(target=self._live, args=(boot,), name=name, daemon=True)
            self._thread.start()

    def allow(self, ingress: Sequence[Ingress]) -> None:
        """Let exactly these callers in, from now on and over restarts; before the first call, no one is let in.

        Raises:
            NetworkFailed: the public address cannot be listened at.
        """
        with self._lock:
            self._ingress = tuple(ingress)
            self._network.let_in(self.spec.private_address, list(self._allowed()))
            self._move_door()

    def console(self) -> bytes:
        """Return the last 64 KiB of the console's output, of all boots."""
        try:
            with (self._folder / "console.log").open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - CONSOLE_BYTES))
                return log.read()
        except FileNotFoundError:
            return b""

    def notify_interruption(self, action: str, at: datetime) -> None:
        """Have the instance's metadata announce a spot interruption: `action` ("terminate", "stop"), an aware time."""
        with self._lock:
            if self._metadata is not None:
                self._metadata.announce(action, at)

    def stop(self, grace_seconds: float) -> None:
        """End its processes (SIGTERM, `grace_seconds`, SIGKILL) and keep its folder; `boot` starts it again.

        Raises:
            StopFailed: something outlived SIGKILL.
        """
        with self._lock:
            boot, self._boot = self._boot, None
            thread = self._thread
        if boot is not None:
            boot.stop(grace_seconds)
        if thread is not None and thread is not threading.current_thread():
            thread.join(END_SECONDS)
            if thread.is_alive():
                raise StopFailed(f"instance {self.spec.instance_id} did not end within {END_SECONDS:.0f} s")

    def destroy(self) -> None:
        """End its processes at once and remove its folder and addresses.

        Raises:
            StopFailed: something outlived SIGKILL.
        """
        self.stop(0.0)
        self._network.let_in(self.spec.private_address, ())
        remove_folder(self._folder)
        self._on_destroyed()

    def abandon(self) -> None:
        """Report no end any more; whoever ends all processes ends this one's."""
        with self._lock:
            boot, self._boot = self._boot, None
        if boot is not None:
            boot.abandon()

    # --- the machine's thread -----------------------------------------------------------------------------------------

    def _new_boot(self) -> Boot:
        return Boot(self.spec, self._folder, core=self._core, network=self._network, metadata_of=self._new_metadata)

    def _new_metadata(self, files: InstanceFiles) -> Metadata:
        session = self.spec.instance_id
        metadata = Metadata(
            files.identity(), lambda role: self._core.credentials.for_role(role, session, "ec2.amazonaws.com")
        )
        with self._lock:
            self._metadata = metadata
        return metadata

    def _live(self, boot: Boot) -> None:
        on_running = self._on_running
        while True:
            ending = boot.live(Listener(on_running, lambda address: self._set_ssh_address(address)))
            with contextlib.suppress(NetworkFailed):  # the server stops: the network has gone before
                self._set_ssh_address(None)
            with self._lock:
                if self._boot is not boot or ending == STOPPED:
                    return
                self._boot = boot = self._new_boot() if ending == REBOOT else boot
                if ending != REBOOT:
                    self._boot = None
            if ending != REBOOT:
                self._on_ended(ending)
                return
            on_running = _do_nothing  # a reboot leaves the instance running

    # --- who may come in ----------------------------------------------------------------------------------------------

    def _set_ssh_address(self, address: tuple[str, int] | None) -> None:
        with self._lock:
            self._ssh_address = address
            self._move_door()

    def _move_door(self) -> None:
        """Listen at the public address exactly while an SSH server is behind it and the caller is let in."""
        if self._door is None:
            return
        if self._ssh_address is None:
            self._network.close(self._door, cut=True)
        elif any(_admits_caller(each) for each in self._ingress):
            self._network.open(self._door, self._ssh_address)
        else:
            self._network.close(self._door, cut=False)

    def _allowed(self) -> Iterator[AllowedTraffic]:
        for each in self._ingress:
            protocol = PROTOCOL_NUMBERS.get(each.protocol, each.protocol)
            if protocol not in PROTOCOLS:
                continue  # ICMPv6 and the like, of which there is none here
            ports = (each.from_port, each.to_port) if protocol in ("tcp", "udp") else ANY_PORT
            for peer in each.peers:
                yield AllowedTraffic(peer, self.spec.private_address, protocol, *ports)


def _admits_caller(ingress: Ingress) -> bool:
    is_ssh = ingress.protocol == "-1" or (
        PROTOCOL_NUMBERS.get(ingress.protocol, ingress.protocol) == "tcp"
        and ingress.from_port <= SSH_PORT <= ingress.to_port
    )
    return is_ssh and any(CALLER in ipaddress.ip_network(each, strict=False) for each in ingress.cidrs if "." in each)


def _do_nothing() -> None:
    """Do nothing."""
