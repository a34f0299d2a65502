"""`kennel evidence`: keeps screens of the embedded AWS's console, and AWS's answers about what a run made."""

from __future__ import annotations

from dataclasses import asdict

from kennel.commands.known_runs import run_dir_of
from kennel.servers import environment
from kennel.terminal.console import begin, print_json, print_plain
from tasks.run.errors import SettingsRefused


def evidence(run_id: str, *, as_json: bool) -> int:
    """Take the evidence of a run anew, put it into the run's page, and print the files, the record last.

    Raises:
        SettingsRefused: there is no such run, or no AWS is named and the embedded AWS does not run.
        RunBusy: another process works on the run.
        LedgerRefused, AwsFailed, DiskFailed: as `take_evidence`.
    """
    from tasks.evidence.record import Evidence
    from tasks.evidence.take import take_evidence
    from tasks.page.page import write_page
    from tasks.report.summary import StageTimes, summarise
    from tasks.run.handle import Run
    from tasks.teardown.rebuild import working_on

    begin("kennel evidence")
    run_dir_of(environment.home_and_runs()[1], run_id)
    if environment.connect_to_running() is None:
        why = "its pages ended with it"
        raise SettingsRefused("evidence", "localaws does not run", why, f"kennel run --run-id {run_id}")
    run = Run.load(run_id)
    with working_on(run, "evidence"):
        taken = take_evidence(run)
        if run.path(StageTimes).exists():
            write_page(summarise(run))
    if as_json:
        print_json({"run_id": run_id, **asdict(taken)})
    else:
        for file in (*(run.folder / each.file for each in taken.screens), run.path(Evidence)):
            print_plain(str(file))
    return 0
