"""Handles Ctrl-C: prints how to continue or clean up, and terminates the EC2 instances of the interrupted command.

A command with EC2 instances is replaced by `python -m kennel.commands.interrupted RUN...`, which terminates them and
then exits. All other resources of the runs stay.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from kennel.terminal import console
from tasks.run.errors import KennelError
from tasks.run.ledger import live_rows
from tasks.run.settings import Settings

INTERRUPTED = 130


def handle_interrupts() -> None:
    """On Ctrl-C or SIGTERM, print how to continue or clean up, and exit at once; the ledger is complete at any time.

    EC2 instances of a run that this process works on cost money by the second, so they are terminated first. A new
    process replaces this one for that, because this one's threads may be at any point. A second Ctrl-C ends it too.

    Raises:
        SettingsRefused: a setting is out of bounds.
    """
    runs = Settings.load().runs

    def handler(_signal: int, _frame: FrameType | None) -> None:
        console.show_cursor()
        names = _own_runs_with_instances(runs)
        if names:
            os.write(2, b"\nkennel: interrupted; its EC2 instances are terminated first.\n")
            os.execv(sys.executable, [sys.executable, "-m", "kennel.commands.interrupted", *names])  # noqa: S606
        text = (
            "\nkennel: interrupted. Everything that was created so far stays,\n"
            "and the run's ledger lists it.\n"
            "  to see it:    kennel status\n"
            "  to continue:  run the same command again\n"
            "  to remove it: kennel down --yes\n"
        )
        os.write(2, text.encode())
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _own_runs_with_instances(runs: Path) -> list[str]:
    """Return the runs that this process has locked and whose ledgers have instances that may still run."""
    own = str(os.getpid())
    names = [lock.parent.name for lock in runs.glob("*/lock") if lock.read_text().strip() == own]
    return [name for name in names if any(row.kind == "instance" for row in live_rows(runs / name))]


def main(names: list[str]) -> int:
    """Terminate the instances of these runs; after an error, which is printed, their dead-man's switch ends them."""
    from tasks.ec2.terminate import end_instances
    from tasks.run.handle import Run

    console.begin("kennel")
    try:
        for name in names:
            ended = end_instances(Run.load(name))
            console.say(f"run {name}: {len(ended)} EC2 instances terminated; the run's other resources stay:")
            console.say("  kennel status shows them, the same command continues, kennel down --yes removes them")
    except KennelError as error:
        console.print_error(error, as_json=False)
    except KeyboardInterrupt:
        left = "EC2 instances may still run until their dead-man's switch ends them, or kennel down --yes does"
        console.say(f"interrupted again: {left}")
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
