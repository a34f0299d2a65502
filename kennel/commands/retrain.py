"""`kennel retrain`: trains a challenger for a run's endpoint if there is a reason, and promotes it if it is better."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from kennel import flags
from kennel.commands.models import PROMOTION, Promoted
from kennel.servers import environment
from kennel.terminal.console import begin, print_json, print_table
from kennel.terminal.stages import SERVERS
from tasks.run.options import ClassFolder, PromotionOptions

if TYPE_CHECKING:
    from pathlib import Path


def retrain(
    run_id: flags.KnownRun,
    /,
    *,
    data: Annotated[
        str | None,
        Parameter(
            group=flags.DATA,
            help="A URL, an archive, a folder, s3://BUCKET/PREFIX/ or `sample`; default the run's source.",
        ),
    ] = None,
    when: Annotated[
        Literal["changed", "always"],
        Parameter(group=flags.DATA, help="Train when data, code or options changed, or always."),
    ] = "changed",
    at_least_hours: Annotated[
        float,
        Parameter(group=flags.DATA, validator=Number(gte=0, lte=8784), help="So many hours lie between two trainings."),
    ] = 0.0,
    promote_on: Annotated[
        Literal["better", "not worse"],
        Parameter(group=PROMOTION, help="What suffices: shown to be better, or shown to be not worse."),
    ] = "better",
    add_photos: Annotated[
        bool,
        Parameter(group=PROMOTION, negative="", help="Add the data's test photos to those that models are judged by."),
    ] = False,
    promote: Annotated[bool, Parameter(group=PROMOTION, help="Promote a model that may be.")] = True,
    promotion: Promoted = PromotionOptions(),
    budget: flags.Budget = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Train a challenger if there is a reason, judge it by the frozen photos, and promote it if it may be.

    Raises:
        SettingsRefused: there is no such run, or it was trained by an older release.
        StageFailed: the training failed, or an alarm took the promotion back; the champion serves.
        KennelError: the kind that flows/retrain.py names.
    """
    begin("kennel retrain", (SERVERS,), quiet=quiet, verbose=verbose)
    from kennel.commands.data_argument import check_data_argument, read_data_argument
    from kennel.commands.flow_run import run_flow
    from kennel.commands.interrupted import handle_interrupts
    from kennel.commands.known_runs import run_dir_of
    from kennel.commands.status import REPORT
    from tasks.run.settings import Settings
    from tasks.run.source_name import keep_in_memory

    handle_interrupts()
    folder = run_dir_of(environment.home_and_runs()[1], run_id)
    named = read_data_argument(data)
    if named is not None:
        check_data_argument(named, Settings.load(), run_class_folder(folder))
    where = environment.start_servers(lambda: environment.import_flow("flows.retrain"))
    from flows.retrain import retrain as flow

    done = run_flow(
        flow(
            run_id,
            None if named is None else keep_in_memory(named),
            when=when,
            at_least_hours=at_least_hours,
            promote_on=promote_on,
            add_photos=add_photos,
            promotes=promote,
            promotion=promotion,
            budget_usd=budget,
        ),
        where,
    )
    if json:
        print_json({"run_id": run_id, **asdict(done)})
    else:
        rows = {"outcome": done.outcome, "why": done.why, "challenger": done.challenger or "none", "at": done.at}
        rows["trained because"] = "; ".join(done.reasons) or "not trained"
        if done.challenger:
            rows["page"] = str(folder / REPORT)
        print_table(f"retraining of {run_id}", rows)
    return 0


def run_class_folder(folder: Path) -> ClassFolder:
    """Return the folder that is a photo's class in the run, as its data is staged again in the same way.

    Raises:
        LedgerRefused: the run's record of its data cannot be read, or another release wrote it.
    """
    from tasks.run.data_choice import chosen_data_options
    from tasks.run.handle import RunFolder
    from tasks.run.records import DatasetRef

    staged = RunFolder(folder).find(DatasetRef)
    return "auto" if staged is None else chosen_data_options(staged).class_folder
