"""A second and a third signal while a command ends: one message, the first signal's code and no traceback."""

import signal
from pathlib import Path

import pytest

from tests.kennel.shell import Finished, Terminal
from tests.kennel.signalled import CODES

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
PROGRAM = """
import os, sys, threading, time
import kennel_start

def follow():
    for seconds, number in {further}:
        time.sleep(seconds)
        os.kill(os.getpid(), number)

def send():
    threading.Thread(target=follow, daemon=True).start()
    os.kill(os.getpid(), {first})

class Finder:
    def find_spec(self, name, *_):
        if name == "{module}":
            sys.meta_path.remove(self)
            {how}

class Dying:
    def __del__(self):
        send()

sys.meta_path.insert(0, Finder())
sys.argv[1:] = {command}
kennel_start.main()
"""
"""Sends the first signal when the command imports a module, and further ones while it ends."""

AT_IMPORT = {
    ("status",): "kennel.commands.status",
    ("down", "--yes"): "kennel.servers.environment",
    ("up",): "kennel.servers.localaws",
    ("audit", "--json"): "tasks.run.settings",
    ("notebook", "list"): "kennel.commands.interrupted",
    ("iam", "used", "r"): "kennel.commands.iam",
}


def ended_by(
    folder: Path, command: tuple[str, ...], *numbers: signal.Signals, seconds: float, how: str = "send()"
) -> Finished:
    """Return how a command ends that gets the signals, each so many seconds after the one before."""
    further = [(seconds, int(number)) for number in numbers[1:]]
    program = PROGRAM.format(
        further=further, first=int(numbers[0]), module=AT_IMPORT[command], how=how, command=list(command)
    )
    return Terminal(folder / "home", folder / "runs").program("-P", "-c", program)


def check(done: Finished, *codes: int) -> None:
    assert done.code in codes, done.err
    assert done.err.count("kennel: interrupted") == 1, done.err
    assert not [word for word in ("Traceback", "Exception ignored", "Error") if word in done.err], done.err


@pytest.mark.parametrize("seconds", [0.005, 0.05, 0.3])
@pytest.mark.parametrize(
    ("command", "numbers"),
    [
        (("status",), (INT, INT)),
        (("down", "--yes"), (HUP, HUP)),
        (("up",), (TERM, TERM)),
        (("audit", "--json"), (INT, HUP)),
        (("notebook", "list"), (TERM, INT)),
        (("iam", "used", "r"), (HUP, TERM)),
    ],
)
def test_a_second_signal_changes_nothing(
    tmp_path: Path, command: tuple[str, ...], numbers: tuple[signal.Signals, ...], seconds: float
) -> None:
    done = ended_by(tmp_path, command, *numbers, seconds=seconds)
    check(done, CODES[numbers[0]])
    if "--json" in command:
        assert done.answer["exit_code"] == done.code


@pytest.mark.parametrize("seconds", [0.005, 0.02])
def test_a_third_ctrl_c_ends_at_once_with_the_code_of_the_first_signal(tmp_path: Path, seconds: float) -> None:
    done = ended_by(tmp_path, ("status",), TERM, INT, INT, seconds=seconds)
    assert done.code == CODES[TERM] and "kennel: interrupted" in done.err and "Traceback" not in done.err


def test_many_sighups_do_not_cut_the_farewell_off(tmp_path: Path) -> None:
    check(ended_by(tmp_path, ("down", "--yes"), HUP, HUP, HUP, HUP, seconds=0.005), CODES[HUP])


def test_a_signal_that_meets_a_destructor_ends_the_command_too(tmp_path: Path) -> None:
    check(ended_by(tmp_path, ("status",), TERM, seconds=0, how="Dying()"), CODES[TERM])
