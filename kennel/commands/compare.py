"""`kennel compare`: two runs side by side, and whether one model is better on the same photos."""

from __future__ import annotations

from kennel.commands.known_runs import run_dir_of
from kennel.servers import environment
from kennel.terminal.console import print_columns, print_json, print_plain, say


def compare(first: str, second: str, *, as_json: bool) -> int:
    """Print what two runs were given otherwise, their figures, and the paired test of their models.

    Raises:
        SettingsRefused: there is no such run.
    """
    from tasks.report.comparison import compare_runs, comparison_json
    from tasks.run.handle import RunFolder

    home, runs = environment.home_and_runs()
    environment.say_home(home)
    found = compare_runs(*(RunFolder(run_dir_of(runs, name)) for name in (first, second)))
    if as_json:
        print_json(comparison_json(found))
        return 0
    for note in found.notes:
        say(note)
    for title, rows in (("given otherwise", found.settings), ("figures", found.figures)):
        if rows:
            print_columns((title, *found.runs), [(row.what, row.first, row.second) for row in rows], folds_all=True)
    print_plain(found.verdict)
    return 0
