"""Handles Ctrl-C, SIGTERM and SIGHUP: says how to continue or clean up, and terminates the command's EC2 instances.

A command with EC2 instances is replaced by `python -m kennel.commands.interrupted SIGNAL RUN...`, which terminates them
and then exits. All other resources of the runs stay. The exit code is 128 + the signal's number, as shells have it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from kennel.servers import localaws_record, prefect, processes
from kennel.signals import SIGNALS, bear_further, install
from kennel.terminal import console
from tasks.run.ending import stop_work
from tasks.run.errors import KennelError, unexpected
from tasks.run.ledger_contents import live_rows
from tasks.run.sealed import read_regular
from tasks.run.settings import Settings

_LEFT = ": EC2 instances may still run until their dead-man's switch ends them, or kennel down --yes does"


def handle_interrupts() -> None:
    """On a signal of `SIGNALS`, print how to continue or clean up, and exit at once; the ledger is always complete.

    EC2 instances of a run that this process works on cost money by the second, so they are terminated first. A new
    process replaces this one for that, because this one's threads may be at any point. Further signals are those of
    `bear_further`.

    Raises:
        SettingsRefused: a setting is out of bounds.
    """
    settings = Settings.load()
    home = settings.home.resolve()  # now: the current folder changes while Prefect is imported
    runs = settings.runs.resolve()

    def handler(number: int, _frame: FrameType | None) -> None:
        bear_further(number, _LEFT)
        console.show_cursor()
        stop_work(keep=server_pids(home))  # before the look, which then sees every launch that was begun
        _write_json(number)
        names = own_runs_with_instances(runs)
        if names:
            _write(f"\nkennel: {_cause(number)}; its EC2 instances are terminated first.\n")
            _replace_process(number, names)
        _write(
            f"\nkennel: {_cause(number)}. Everything that was created so far stays,\n"
            "and the run's ledger lists it.\n"
            "  to see it:    kennel status\n"
            "  to continue:  run the same command again\n"
            "  to remove it: kennel down --yes\n"
        )
        os._exit(128 + number)

    install(handler)


def own_runs_with_instances(runs: Path) -> list[str]:
    """Return the runs that this process has locked and whose ledgers have instances that may still run."""
    return [lock.parent.name for lock in runs.glob("*/lock") if _is_own(lock) and _may_have_instances(lock.parent)]


def server_pids(home: Path) -> set[int]:
    """Return the process ids of the local servers, which outlive a command."""
    running = [processes.find(home, name) for name in (localaws_record.NAME, prefect.NAME)]
    return {server.pid for server in running if server is not None}


def _is_own(lock: Path) -> bool:
    try:
        return read_regular(lock).decode().strip() == str(os.getpid())
    except (OSError, ValueError):
        return False


def _may_have_instances(run_dir: Path) -> bool:
    try:
        return any(row.kind == "instance" for row in live_rows(run_dir))
    except (KennelError, OSError):
        return True  # the ledger cannot be read, so EC2 is asked


def _cause(number: int) -> str:
    return "interrupted" if number == signal.SIGINT else f"interrupted by {signal.Signals(number).name}"


def _replace_process(number: int, names: list[str]) -> None:
    """Start `main` in this process; signals wait until it handles them, because Python would print a traceback."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    command = [sys.executable, "-P", "-m", "kennel.commands.interrupted", str(number), *names]
    os.execv(sys.executable, command)  # noqa: S606 there is nothing for a shell to expand


def _write_json(number: int) -> None:
    """Write the one object of a command with `--json`, which tells of the interruption."""
    if "--json" in sys.argv:
        with contextlib.suppress(OSError):
            os.write(1, console.interruption_json(_cause(number), 128 + number))


def _write(text: str) -> None:
    """Write to stderr without Python's buffers, whose locks a thread may hold; a terminal that is gone is no error."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


def main(number: int, names: list[str]) -> int:
    """Terminate the instances of these runs; after an error, which is printed, their dead-man's switch ends them."""
    bear_further(number, _LEFT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    from tasks.ec2.terminate import end_instances
    from tasks.run.handle import Run

    console.begin("kennel")
    for name in names:
        try:
            ended = end_instances(Run.load(name))
        except Exception as error:  # noqa: BLE001  the other runs' instances cost money too
            known = error if isinstance(error, KennelError) else unexpected(error, f"run {name}")
            console.print_error(known, as_json=False)
            continue
        console.say(f"run {name}: {len(ended)} EC2 instances terminated; the run's other resources stay:")
        console.say("  kennel status shows them, the same command continues, kennel down --yes removes them")
    return 128 + number


if __name__ == "__main__":
    code = main(int(sys.argv[1]), sys.argv[2:])
    os._exit(code)  # every line is flushed; Python would exit with 120 if the terminal was closed
