"""Powers an instance off from inside, as `shutdown` and similar commands do on a real machine.

The program `power` stands in for those commands. It sends its own name and arguments to the instance's first process,
over a socket in the instance, and prints the answer. It never affects the machine that localaws runs on.
"""

import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localaws.programs.layout import POWER_SOCKET

ANSWER_SECONDS = 10.0
ANSWER_BYTES = 65536
VERBS = {"poweroff": "off", "halt": "off", "reboot": "reboot"}
SWITCHES = {"h": "off", "P": "off", "H": "off", "r": "reboot", "c": "cancel", "k": "nothing"}
LONG = {"--halt": "H", "--poweroff": "P", "--reboot": "r"}
IGNORED = ("--no-wall", "--force", "--now", "-f", "-w", "-p", "-n", "-d", "-i", "--quiet", "-q", "--no-block")


class NotUnderstood(Exception):
    """The arguments mean nothing here; the message is what the program prints."""


@dataclass(frozen=True)
class Order:
    """What to do: "off", "reboot", "cancel", "show" or "nothing", after `minutes` of the instance's own time."""

    action: str
    minutes: float


def main(arguments: Sequence[str]) -> int:
    """Hand over a command (folder of the socket, name, its arguments), print the answer, return its status."""
    folder, name, *rest = arguments
    os.chdir(folder)  # a socket's path has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(POWER_SOCKET)
        connection.sendall(json.dumps([Path(name).name, *rest]).encode())
        connection.shutdown(socket.SHUT_WR)
        status, text = json.loads(connection.makefile("rb").read(ANSWER_BYTES))
    if text:
        print(text, file=sys.stderr if status or name.endswith("shutdown") else sys.stdout)
    return int(status)


def understand(name: str, arguments: Sequence[str]) -> Order:
    """Return what a command asks for.

    Raises:
        NotUnderstood: it is no command of power, or one that localaws does not know.
    """
    if name == "systemctl":
        verbs = [each for each in arguments if not each.startswith("-")]
        if len(verbs) != 1 or verbs[0] not in VERBS:
            raise NotUnderstood("System has not been booted with systemd as init system (PID 1). Can't operate.")
        return Order(VERBS[verbs[0]], 0)
    if name == "shutdown":
        return _understand_shutdown(arguments)
    if unknown := [each for each in arguments if each not in IGNORED]:
        raise NotUnderstood(f"{name}: {unknown[0]} is not emulated")
    return Order(VERBS[name], 0)


def _understand_shutdown(arguments: Sequence[str]) -> Order:
    action, times = "off", []
    for each in arguments:
        if each == "--show":
            action = "show"
        elif each in LONG:
            action = SWITCHES[LONG[each]]
        elif each.startswith("-") and each not in IGNORED:
            action = _action_of(each)
        elif not each.startswith("-"):
            times.append(each)
    return Order(
        action, _minutes(times[0]) if times and action != "cancel" else 1.0
    )  # what follows a time is a message


def _action_of(switches: str) -> str:
    action = "off"
    for letter in switches[1:]:
        if letter not in SWITCHES:
            raise NotUnderstood(f"shutdown: {switches} is not emulated")
        action = SWITCHES[letter]
    return action


def _minutes(time: str) -> float:
    if time == "now":
        return 0.0
    if time.removeprefix("+").isdigit():
        return float(time.removeprefix("+"))
    raise NotUnderstood(f"shutdown: Failed to parse time specification: {time} (emulated: now, +MINUTES)")
