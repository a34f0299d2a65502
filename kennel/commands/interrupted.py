"""What Ctrl-C does to a command: it says what is left, and terminates the EC2 instances that the command had.

`python -m kennel.commands.interrupted RUN...`, with the environment of the command, takes the place of one that had
instances: they are terminated, then this ends too. Everything else of the runs stays.
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


def tell_on_interrupt() -> None:
    """On Ctrl-C: say what is left and how to go on or remove it, and end at once; the ledger is whole at any time.

    EC2 instances of a run that this process works on cost money by the second: they are terminated first, by a fresh
    process in this one's place, for threads of this one may be anywhere. A second Ctrl-C ends that too.
    """
    runs = Settings.load().runs

    def handler(_signal: int, _frame: FrameType | None) -> None:
        console.show_cursor()
        names = _own_runs_with_instances(runs)
        if names:
            os.write(2, b"\nkennel: interrupted; its EC2 instances are terminated first.\n")
            os.execv(sys.executable, [sys.executable, "-m", "kennel.commands.interrupted", *names])  # noqa: S606
        text = (
            "\nkennel: interrupted. What was made so far is left as it is,\n"
            "and written in the run's ledger.\n"
            "  what is left:  kennel status\n"
            "  go on:         the same command again\n"
            "  remove it:     kennel down --yes\n"
        )
        os.write(2, text.encode())
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _own_runs_with_instances(runs: Path) -> list[str]:
    """Return the runs that this process holds and whose ledgers have instances that may be alive."""
    own = str(os.getpid())
    names = [lock.parent.name for lock in runs.glob("*/lock") if lock.read_text().strip() == own]
    return [name for name in names if any(row.kind == "instance" for row in live_rows(runs / name))]


def main(names: list[str]) -> int:
    """Terminate the instances of these runs; an error is shown, and the instances' dead-man's switch remains."""
    from tasks.ec2.terminate import end_instances
    from tasks.run.handle import Run

    console.begin("kennel")
    try:
        for name in names:
            ended = end_instances(Run.load(name))
            console.say(f"run {name}: {len(ended)} EC2 instances terminated; all else is left, in the ledger:")
            console.say("  kennel status shows it, the same command goes on, kennel down --yes removes it")
    except KennelError as error:
        console.print_error(error, as_json=False)
    except KeyboardInterrupt:
        left = "EC2 instances may still run; they end by their dead-man's switch, or: kennel down --yes"
        console.say(f"interrupted again: {left}")
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
