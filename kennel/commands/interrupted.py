"""What Ctrl-C leaves running in place of a command that had EC2 instances: they are terminated, then this ends too.

`python -m kennel.commands.interrupted RUN...`, with the environment of the command. Everything else of the runs stays.
"""

from __future__ import annotations

import sys

from kennel.commands.run import INTERRUPTED
from kennel.terminal.console import begin, print_error, say
from tasks.ec2.run import end_instances
from tasks.run.aws import Aws
from tasks.run.errors import KennelError
from tasks.run.settings import Settings


def main(names: list[str]) -> int:
    """Terminate the instances of these runs; an error is shown, and the instances' dead-man's switch remains."""
    begin("kennel")
    try:
        aws = Aws(Settings.load())
        for name in names:
            ended = end_instances(aws, name)
            say(f"run {name}: {len(ended)} EC2 instances terminated; all else is left, in the ledger:")
            say("  kennel status shows it, the same command goes on, kennel down --yes removes it")
    except KennelError as error:
        print_error(error, as_json=False)
    except KeyboardInterrupt:
        say(
            "interrupted again: EC2 instances may still run; they end by their dead-man's switch, or: kennel down --yes"
        )
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
