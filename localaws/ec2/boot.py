"""One boot of an instance, from the start of its first process to its end."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localaws.core import Core
from localaws.ec2 import ssh_service
from localaws.ec2.instance_files import InstanceFiles
from localaws.ec2.metadata import Metadata, Service
from localaws.ec2.network import SYSTEM_PATH, Network, NetworkFailed
from localaws.ec2.spec import MachineSpec
from localaws.errors import LocalAwsError
from localaws.processes import Process
from localaws.programs import launch_command, messages
from localaws.programs.layout import SSH_PORT

RUNNING_SECONDS = 30.0  # what boots so long is running on AWS, whether its SSH server answers or not
START_SECONDS = 20.0
END_SECONDS = 15.0
SHUTDOWN, REBOOT, STOPPED = "shutdown", "reboot", "stopped"


class _Stopped(Exception):
    """`stop` came while the instance was being started."""


class _NotStarted(LocalAwsError):
    """The instance's first process does not say that it began."""


@dataclass(frozen=True)
class Listener:
    """Who is told what happens. `on_running`: it runs, once; `on_greets`: its SSH server is at this address."""

    on_running: Callable[[], None]
    on_greets: Callable[[tuple[str, int]], None]


class Boot:
    """An instance between power-on and power-off. `live` does it all in the caller's thread."""

    def __init__(
        self,
        spec: MachineSpec,
        folder: Path,
        *,
        core: Core,
        network: Network,
        metadata_of: Callable[[InstanceFiles], Metadata],
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._core = core
        self._network = network
        self._metadata_of = metadata_of
        self._lock = threading.Lock()
        self._is_stopped = False
        self._process: Process | None = None
        self._service: Service | None = None
        self._is_attached = False

    def live(self, listener: Listener) -> str:
        """Boot and wait for the end; return "shutdown", "reboot", "stopped" or "crashed: …"."""
        try:
            return self._live(listener)
        except _Stopped:
            return STOPPED
        except (LocalAwsError, OSError) as error:
            return f"crashed: {error}"
        finally:
            self._clean()

    def stop(self, grace_seconds: float) -> None:
        """End it from outside: SIGTERM, grace, SIGKILL.

        Raises:
            StopFailed: something outlived SIGKILL.
        """
        self.abandon()
        if self._process is not None:
            self._process.stop(grace_seconds)

    def abandon(self) -> None:
        """Report any end as "stopped" from now on; the caller ends the processes."""
        with self._lock:
            self._is_stopped = True

    def _live(self, listener: Listener) -> str:
        self._network.start()
        files = self._prepare()
        files.build()
        channel, theirs = messages.channel()
        with channel:
            with theirs:
                self._spawn(files, theirs)
            said = self._follow(channel, files, listener)
        assert self._process is not None
        status = self._process.wait(END_SECONDS)
        if self._is_stopped:
            return STOPPED
        if status == 0 and said in (SHUTDOWN, REBOOT):
            return said
        return f"crashed: its first process ended with status {status}: {_last_line(files.folder)}"

    def _prepare(self) -> InstanceFiles:
        is_isolated = self._network.refusal is None
        sshd = ssh_service.choose(self._core.settings, is_isolated=is_isolated)
        address, url = (self._spec.private_address, SSH_PORT), None
        metadata_socket = None
        if not is_isolated:
            metadata_socket = socket.create_server((self._spec.private_address, 0))
            url = "http://{}:{}".format(*metadata_socket.getsockname())
            address = (self._spec.private_address, _free_port(self._spec.private_address))
        files = InstanceFiles(self._folder, self._spec, self._core.settings, address, url, sshd)
        self._metadata = self._metadata_of(files)
        if metadata_socket is not None:
            self._service = self._metadata.serve(metadata_socket)
        return files

    def _spawn(self, files: InstanceFiles, channel: socket.socket) -> None:
        namespace = self._network.user_namespace
        config = {"channel": channel.fileno(), "user_namespace": namespace, "plan": str(files.plan)}
        with self._lock:
            if self._is_stopped:
                raise _Stopped
            self._process = self._core.processes.spawn(
                launch_command("instance", config),
                name=f"ec2/{self._spec.instance_id}",
                env={"PATH": SYSTEM_PATH},
                cwd=self._folder,
                log_path=self._folder / "console.log",
                pass_fds=(channel.fileno(),) if namespace is None else (channel.fileno(), namespace),
            )

    def _follow(self, channel: socket.socket, files: InstanceFiles, listener: Listener) -> str:
        """Do what the first process's messages ask for until it is gone; return what it last said about power."""
        said, is_running = "", False
        began, deadline = False, time.monotonic() + START_SECONDS
        while True:
            channel.settimeout(None if is_running else max(0.01, deadline - time.monotonic()))
            try:
                message = messages.receive(channel)
            except TimeoutError:
                if not began:
                    raise _NotStarted(f"it did not begin within {START_SECONDS:.0f} s") from None
                is_running = True
                listener.on_running()
                continue
            if message is None:
                return said
            event, descriptors = message[0]["event"], message[1]
            if event == "network":
                self._attach(descriptors)
                messages.send(channel, {})
            elif event == "began":
                began, deadline = True, time.monotonic() + RUNNING_SECONDS
            elif event == "greets":
                listener.on_greets(files.ssh_address)
                if not is_running:
                    is_running = True
                    listener.on_running()
            else:
                said = SHUTDOWN if event == "off" else REBOOT

    def _attach(self, descriptors: list[int]) -> None:
        try:
            metadata_socket = self._network.attach(self._spec.private_address, descriptors[0])
        finally:
            messages.close_all(descriptors)
        self._is_attached = True
        self._service = self._metadata.serve(metadata_socket)

    def _clean(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.stop(0.0)
        if self._service is not None:
            self._service.close()
        if self._is_attached:
            with contextlib.suppress(NetworkFailed):  # the server stops: the network has gone before
                self._network.detach(self._spec.private_address)


def _free_port(address: str) -> int:
    with socket.create_server((address, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _last_line(folder: Path) -> str:
    with contextlib.suppress(OSError, IndexError):
        return (folder / "console.log").read_text(errors="replace").strip().splitlines()[-1]
    return "it said nothing"
