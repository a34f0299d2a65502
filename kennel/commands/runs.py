"""`kennel runs`: all runs side by side, from their records on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from kennel.commands.known_runs import all_runs
from kennel.servers import environment
from kennel.terminal.console import print_columns, print_json, say

if TYPE_CHECKING:
    from tasks.report.run_list import Order


def runs(order: Order, *, as_json: bool) -> int:
    """Print a row for each run; what a run has no record of is empty, and a record that cannot be read is said."""
    from tasks.report.run_list import HEAD, list_runs

    home, folder = environment.home_and_runs()
    environment.say_home(home)
    listed = list_runs(all_runs(folder), order)
    if as_json:
        print_json({"runs": [asdict(run) for run in listed]})
        return 0
    for run in listed:
        for note in run.notes:
            say(f"run {run.run_id}: {note}")
    if listed:
        print_columns(HEAD, [run.cells for run in listed])
    else:
        say(f"there are no runs under {folder}")
    return 0
