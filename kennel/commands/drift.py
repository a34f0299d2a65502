"""`kennel drift`: whether an endpoint's photos and answers have changed since its model was tested."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from kennel import flags
from kennel.commands.models import require_running
from kennel.servers import environment
from kennel.terminal.console import begin, print_json, print_plain
from kennel.terminal.stages import SERVERS

if TYPE_CHECKING:
    from flows.drift import DriftLook

FOUND = 12

Hours = Annotated[int, Parameter(validator=Number(gte=1, lte=8784), help="How far back to look.")]
Level = Annotated[
    float, Parameter(validator=Number(gt=0, lt=0.5), help="The chance of finding a change where there is none.")
]
Retrain = Annotated[bool, Parameter(negative="", help="If there is drift, train a model anew, as `kennel retrain`.")]
Promote = Annotated[bool, Parameter(help="With --retrain: promote a model that may be.")]


def drift(
    run_id: flags.KnownRun,
    /,
    *,
    hours: Hours = 24,
    level: Level = 0.05,
    retrain: Retrain = False,
    promote: Promote = True,
    budget: flags.Budget = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Compare what an endpoint was asked, and what it answered, with the test split; return 12 if there is drift.

    Raises:
        SettingsRefused: there is no such run, its endpoint keeps no requests, or the embedded AWS does not run.
        StageFailed: too few photos were kept, or a retraining failed.
        KennelError: the kind that flows/drift.py names.
    """
    begin("kennel drift", (SERVERS,), quiet=quiet, verbose=verbose)
    from kennel.commands.flow_run import run_flow
    from kennel.commands.interrupted import handle_interrupts
    from kennel.commands.known_runs import run_dir_of

    handle_interrupts()
    run_dir_of(environment.home_and_runs()[1], run_id)
    require_running("drift")
    where = environment.start_servers(lambda: environment.import_flow("flows.drift"))
    from flows.drift import drift as flow

    done = run_flow(
        flow(run_id, hours, level, retrains=retrain, promotes=promote, budget_usd=budget),
        where,
    )
    _print(run_id, done, as_json=json)
    return FOUND if done.report.changed else 0


def _print(run_id: str, done: DriftLook, *, as_json: bool) -> None:
    from tasks.drift.report import drift_text

    if as_json:
        retraining = None if done.retraining is None else asdict(done.retraining)
        found = {"changed": done.report.changed, "retraining": retraining}
        print_json({"run_id": run_id, **asdict(done.report), **found})
        return
    print_plain(drift_text(done.report))
    if done.retraining is not None:
        print_plain(f"Retraining: {done.retraining.outcome}: {done.retraining.why}")
    elif done.report.changed:
        print_plain(f"To train a model anew, add photos like these to the data, then: kennel retrain {run_id}")
