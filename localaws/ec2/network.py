"""The network that a server's instances share, controlled through the gateway process.

Finds out once, by trying, whether instances can have namespaces. Without them, instances share the host's network and
are not separated from each other; their public addresses are opened and closed all the same.
"""

import contextlib
import os
import shutil
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from localaws.core import Core
from localaws.ec2 import root_folder, shims
from localaws.ec2.ubuntu_release import NOBLE
from localaws.errors import LocalAwsError
from localaws.processes import Process
from localaws.programs import FOLDER, launch_command, messages
from localaws.programs.allowed_traffic import AllowedTraffic
from localaws.programs.layout import PROGRAMS, RUN

READY_SECONDS = 20.0
ORDER_SECONDS = 30.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLOSE_SECONDS = 1.0


class NetworkFailed(LocalAwsError):
    """The gateway did not do what it was told; the message says why."""


class Network:
    """Made with nothing running; the gateway starts when it is first needed."""

    def __init__(self, core: Core, folder: Path, *, refusal: str | None = None) -> None:
        self._core = core
        self._folder = folder
        self._forced_refusal = refusal
        self._starting = threading.Lock()
        self._talking = threading.RLock()
        self._gateway: Process | None = None
        self._control: socket.socket | None = None
        self._refusal: str | None = None
        self._allowed: dict[str, tuple[AllowedTraffic, ...]] = {}
        self.user_namespace: int | None = None

    def start(self) -> None:
        """Start the gateway unless it runs. Takes 0.5 s the first time.

        Raises:
            NetworkFailed: it does not start even without namespaces.
        """
        with self._starting:
            if self._gateway is not None and self._gateway.poll() is None:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            self._refusal = self._forced_refusal or self._start_isolated()
            if self._refusal is not None:
                why = f"they cannot have namespaces: {self._refusal}"
                print(f"localaws: EC2 instances share this machine's network and disk; {why}", file=sys.stderr)
                self._start_gateway(namespaces=False)

    @property
    def refusal(self) -> str | None:
        """Why instances have no namespaces, None if they have; known after `start`."""
        return self._refusal

    # --- orders -------------------------------------------------------------------------------------------------------

    def attach(self, private: str, namespace: int) -> socket.socket:
        """Connect an instance's network namespace; return the listener for its metadata.

        Raises:
            NetworkFailed: it could not be connected.
        """
        settings = self._core.settings
        order = {"do": "attach", "private": private, "localaws": [settings.host, settings.port]}
        (listener,) = self._order(order, [namespace])
        return socket.socket(fileno=listener)

    def detach(self, private: str) -> None:
        """Disconnect an instance and reset its connections to localaws."""
        self._order({"do": "detach", "private": private})

    def open(self, public: tuple[str, int], target: tuple[str, int]) -> None:
        """Listen at a public address and carry what comes to `target`; nothing happens if it is open.

        Raises:
            NetworkFailed: it cannot be listened at.
        """
        self._order({"do": "open", "public": public, "target": target})

    def close(self, public: tuple[str, int], *, cut: bool) -> None:
        """Listen no more; with `cut`, reset the connections too, else they go on as on AWS."""
        if self._control is not None:
            self._order({"do": "close", "public": public, "cut": cut})

    def let_in(self, private: str, allowed: Sequence[AllowedTraffic]) -> None:
        """Let exactly these packets reach an instance."""
        with self._talking:  # told in the order in which they come
            before, self._allowed = self._allowed, {**self._allowed, private: tuple(allowed)}
            if self._allowed != before and self._control is not None:
                self._push_allowed()

    def stop(self) -> None:
        """End the gateway, and with it every connection."""
        with self._starting:
            if self._control is not None:
                self._control.close()
            if self._gateway is not None:
                self._gateway.stop(CLOSE_SECONDS)

    def _push_allowed(self) -> None:
        allowed = [astuple(each) for group in self._allowed.values() for each in group]
        self._order({"do": "let_pass", "allowed": allowed})

    def _order(self, order: dict[str, Any], descriptors: Sequence[int] = ()) -> list[int]:
        with self._talking:
            if self._control is None:
                raise NetworkFailed(f"{order['do']}: the network of EC2 instances is not up")
            try:
                messages.send(self._control, order, descriptors)
                answer = messages.receive(self._control)
            except OSError as error:
                raise NetworkFailed(f"{order['do']}: the gateway of EC2 instances does not answer: {error}") from error
        if answer is None:
            raise NetworkFailed(f"{order['do']}: the gateway of EC2 instances has ended")
        if "error" in answer[0]:
            raise NetworkFailed(f"{order['do']}: {answer[0]['error']}")
        return answer[1]

    # --- starting -----------------------------------------------------------------------------------------------------

    def _start_isolated(self) -> str | None:
        """Start the gateway with namespaces; return what was refused, None if nothing was."""
        if sys.platform != "linux":
            return f"{sys.platform} has no namespaces"
        try:
            (self.user_namespace,) = self._start_gateway(namespaces=True)
            self._probe()
            self._push_allowed()
        except NetworkFailed as error:
            self._end_gateway()
            return str(error)
        return None

    def _start_gateway(self, *, namespaces: bool) -> list[int]:
        ours, theirs = messages.channel()
        with theirs:
            command = launch_command(
                "gateway", {"control": theirs.fileno(), "namespaces": namespaces}, with_packages=True
            )
            self._gateway = self._core.processes.spawn(
                command,
                name="ec2/gateway",
                env={"PATH": SYSTEM_PATH},
                cwd=self._folder,
                log_path=self._folder / "gateway.log",
                pass_fds=(theirs.fileno(),),
            )
        ours.settimeout(READY_SECONDS)
        self._control = ours
        answer = _receive(ours)
        ours.settimeout(ORDER_SECONDS)
        if answer is None or "error" in answer[0]:
            raise NetworkFailed(answer[0]["error"] if answer else "the gateway of EC2 instances did not start")
        return answer[1]

    def _end_gateway(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._gateway is not None:
            self._gateway.stop(0.0)
        if self.user_namespace is not None:
            os.close(self.user_namespace)
            self.user_namespace = None

    def _probe(self) -> None:
        assert self.user_namespace is not None
        folder = self._folder / "probe"
        root_folder.make(folder / "root", hostname="probe", private_address="127.0.0.1", release=NOBLE)
        shims.write(folder / "shims", root="", programs=PROGRAMS, run=RUN)
        config = {"user_namespace": self.user_namespace, **disk_paths(folder)}
        lines: deque[str] = deque(maxlen=1)
        probe = self._core.processes.spawn(
            launch_command("probe", config),
            name="ec2/probe",
            env={"PATH": SYSTEM_PATH},
            cwd=self._folder,
            on_line=lines.append,
            pass_fds=(self.user_namespace,),
        )
        status = probe.wait(READY_SECONDS)
        if status is None:
            probe.stop(0.0)
        shutil.rmtree(folder, ignore_errors=True)
        if status != 0:
            raise NetworkFailed("".join(lines) or f"the probe ended with {status}")


def disk_paths(folder: Path) -> dict[str, str]:
    """Return what an instance's disk is made of; `folder` is the instance's."""
    return {
        "root": str(folder / "root"),
        "shims": str(folder / "shims"),
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "programs": str(FOLDER),
    }


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    with contextlib.suppress(TimeoutError):
        return messages.receive(control)
    return None
