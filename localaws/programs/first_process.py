"""Process 1 of an instance: boots it, controls its power, and ends it.

It boots as cloud-init and systemd do: the user data's early part (`user_data_stages.py`), then the SSH server, and the
rest of the user data beside it, both with users of their own, so that nobody in the instance has power over the network
that its instances share. It sends the server "began", "greets" (the SSH server accepts connections), "off" or
"reboot". It ends everything when told to power off, on SIGTERM, and when the server is gone. Without namespaces it ends
only the processes that descend from it.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localaws.programs import container, namespaces, power, user_data_stages
from localaws.programs.call_filter import call_filter
from localaws.programs.layout import OUTPUT_LOG, POWER_SOCKET, RUN, USER_ID
from localaws.programs.messages import send

END_SECONDS = 5.0  # between SIGTERM and SIGKILL when the instance shuts itself down
POLL_SECONDS = 0.01
GREETING_SECONDS = 0.5
ORDER_SECONDS = 2.0
ORDER_BYTES = 65536
RESTORED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)  # what Python or we changed for ourselves
SSH_STARTS = 5  # a server that keeps ending is left alone


class FirstProcess:
    """The instance, seen from inside."""

    def __init__(self, plan: dict[str, Any], channel: socket.socket, *, is_alone: bool) -> None:
        self._plan = plan
        self._channel = channel
        self._is_alone = is_alone
        self._root = Path("/") if is_alone else Path(plan["root"])
        self._children: dict[int, str] = {}
        self._ssh_starts = 0
        self._awaits_greeting = False
        self._power_at: float | None = None
        self._power_action = "off"
        self._ends_at: float | None = None
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Boot, serve until the end, end what runs; return the exit status."""
        if not self._is_alone and sys.platform == "linux":
            namespaces.adopt_orphans()
        self._watch_signals()
        self._watch(self._channel, self._on_server_gone)
        self._watch(self._listen_for_power(), self._on_power)
        self._tell("began")
        self._start("init", lambda: self._run_stage(user_data_stages.run_early))
        while self._ends_at is None or not self._has_ended():
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._look_around()
        return 0

    # --- what happens -------------------------------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno())
        self._signals = (ours, theirs)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._watch(ours, self._on_signal)

    def _watch(self, source: socket.socket, react: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, react)

    def _patience(self) -> float | None:
        if self._awaits_greeting or self._ends_at is not None:
            return POLL_SECONDS
        return max(0.0, self._power_at - time.monotonic()) if self._power_at is not None else None

    def _look_around(self) -> None:
        if self._awaits_greeting and self._greets():
            self._awaits_greeting = False
            self._tell("greets")
        if self._power_at is not None and time.monotonic() >= self._power_at and self._ends_at is None:
            self._tell(self._power_action)
            self._end()

    def _on_signal(self) -> None:
        numbers = self._signals[0].recv(256)
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                self._on_child_ended(self._children.pop(ended, ""))
        if signal.SIGTERM in numbers:
            self._end()

    def _on_child_ended(self, name: str) -> None:
        if self._ends_at is not None:
            return
        if name == "init":
            self._start("final", lambda: self._run_stage(user_data_stages.run_late))
        if name in ("init", "ssh") and self._ssh_starts < SSH_STARTS:
            self._ssh_starts += 1
            self._awaits_greeting = self._awaits_greeting or self._ssh_starts == 1
            self._start("ssh", self._become_ssh_server)

    def _on_server_gone(self) -> None:
        for pid in self._others():
            self._kill(pid, signal.SIGKILL)
        os._exit(1)

    def _greets(self) -> bool:
        with contextlib.suppress(OSError):
            address = (self._plan["ssh_address"][0], self._plan["ssh_address"][1])
            with socket.create_connection(address, GREETING_SECONDS) as connection:
                return connection.recv(4) == b"SSH-"
        return False

    def _tell(self, event: str) -> None:
        with contextlib.suppress(OSError):  # the server ends: the next look at the channel shows it
            send(self._channel, {"event": event})

    # --- power --------------------------------------------------------------------------------------------------------

    def _listen_for_power(self) -> socket.socket:
        folder = Path(RUN) if self._is_alone else self._root / RUN.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)  # a socket's path has at most 107 bytes
        Path(POWER_SOCKET).unlink(missing_ok=True)
        self._power = socket.socket(socket.AF_UNIX)
        self._power.bind(POWER_SOCKET)
        self._power.listen(16)
        os.chdir("/")
        return self._power

    def _on_power(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._power.accept()[0] as connection:
            connection.settimeout(ORDER_SECONDS)
            name, *arguments = json.loads(connection.makefile("rb").read(ORDER_BYTES))
            connection.sendall(json.dumps(self._obey(name, arguments)).encode())

    def _obey(self, name: str, arguments: list[str]) -> tuple[int, str]:
        try:
            order = power.understand(name, arguments)
        except power.NotUnderstood as error:
            return 1, str(error)
        if order.action == "cancel":
            self._power_at = None
        if order.action in ("off", "reboot"):
            self._power_action = order.action
            self._power_at = time.monotonic() + order.minutes * 60 / self._plan["time_scale"]
            if order.minutes:
                minutes = f"{order.minutes:g} minutes at time scale {self._plan['time_scale']:g}"
                return 0, f"Shutdown scheduled in {minutes}, use 'shutdown -c' to cancel."
        if order.action == "show":
            return (
                (1, "No scheduled shutdown.") if self._power_at is None else (0, f"{self._power_action} is scheduled.")
            )
        return 0, ""

    # --- children -----------------------------------------------------------------------------------------------------

    def _start(self, name: str, run: Callable[[], int]) -> None:
        sys.stdout.flush()
        child = os.fork()
        if child:
            self._children[child] = name
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in RESTORED:
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            status = run()
        except BaseException:  # noqa: BLE001 a forked child must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)

    def _run_stage(self, stage: Callable[[dict[str, Any], Path], int]) -> int:
        """Run a part of the user data; what it prints goes to the console and to cloud-init's log."""
        self._take_users(0)
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.dup2(reading, 0)
            os.close(writing)
            os.execvp("tee", ["tee", "-a", str(self._root / OUTPUT_LOG)])  # noqa: S606
        for stream in (1, 2):
            os.dup2(writing, stream)
        os.close(reading)
        os.close(writing)
        os.chdir(self._root)
        return stage(self._plan, self._root)

    def _become_ssh_server(self) -> int:
        log = os.open(self._root / "var/log/auth.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        for stream in (1, 2):
            os.dup2(log, stream)
        self._take_users(USER_ID)
        command = self._plan["ssh_command"]
        os.execve(command[0], command, {**os.environ, **self._plan["ssh_environment"]})  # noqa: S606

    def _take_users(self, inside: int) -> None:
        """Be `inside` in a user namespace that owns neither the network nor what is mounted, and make no other one."""
        if self._is_alone:
            namespaces.unshare(namespaces.CLONE_NEWUSER)
            namespaces.map_user(inside, outside_user=0, outside_group=0)
            container.refuse_calls(call_filter(nests=False))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        if self._ends_at is None:
            self._ends_at = time.monotonic() + END_SECONDS
            for pid in self._others():
                self._kill(pid, signal.SIGTERM)

    def _has_ended(self) -> bool:
        others = self._others()
        if others and self._ends_at is not None and time.monotonic() > self._ends_at:
            for pid in others:
                self._kill(pid, signal.SIGKILL)
        return not others

    def _others(self) -> list[int]:
        """Return the instance's other processes, as far as this system tells; zombies are none."""
        if sys.platform != "linux":
            return list(self._children)
        parents = {int(name): _parent_of(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        if self._is_alone:
            return [pid for pid, parent in parents.items() if pid != os.getpid() and parent is not None]
        found = {os.getpid()}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found - {os.getpid()})

    def _kill(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _parent_of(name: str) -> int | None:
    """Return the parent of a process, None if it has ended."""
    with contextlib.suppress(OSError):
        state, parent = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[:2]
        return int(parent) if state not in "ZX" else None
    return None
