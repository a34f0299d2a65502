"""`kennel models`, `promote` and `rollback`: what the registry has, and what an endpoint serves."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from kennel import flags
from kennel.servers import environment
from kennel.terminal.console import begin, print_columns, print_json, print_table, say
from tasks.run.errors import SettingsRefused
from tasks.run.options import PromotionOptions

if TYPE_CHECKING:
    from tasks.promotion.promote import Promotion

PROMOTION = Group("Promotion")
Promoted = Annotated[PromotionOptions, flags.flags_of(PROMOTION)]
Reason = Annotated[str, Parameter(help="What the registry is told as the reason.")]


def models(run_id: flags.RunName = None, /, *, json: flags.Json = False) -> int:
    """Print the versions of the registry, of the dataset of one run or of all.

    Raises:
        SettingsRefused: there is no such run, or no AWS is named and the embedded AWS does not run.
        AwsFailed: SageMaker refused.
    """
    require_running("models")
    from tasks.registry.groups import group_of
    from tasks.registry.listing import HEAD, list_versions
    from tasks.run.aws import Aws
    from tasks.run.handle import RunFolder
    from tasks.run.records import DatasetRef
    from tasks.run.settings import Settings

    settings = Settings.load()
    run = None if run_id is None else RunFolder(settings.run_dir(run_id))
    found = list_versions(Aws(settings), None if run is None else group_of(run, run.need(DatasetRef)))
    if json:
        print_json({"models": [asdict(each) for each in found]})
        return 0
    for group in dict.fromkeys(each.group for each in found):
        print_columns((group, *HEAD[1:]), [each.cells for each in found if each.group == group], folds_all=True)
    if not found:
        say("the registry has no model of kennel's")
    return 0


def promote(
    run_id: flags.KnownRun,
    version: Annotated[
        str, Parameter(help="A version's number, as `kennel models` lists it, or the run of its training.")
    ],
    /,
    *,
    promotion: Promoted = PromotionOptions(),
    reason: Reason = "promoted by a person",
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Put a version of the registry onto a run's endpoint, watched by alarms that take it back.

    Raises:
        SettingsRefused: there is no such run or version.
        StageFailed: an alarm took it back; the former one serves.
        KennelError: the kind that flows/promote.py names.
    """
    begin("kennel promote", quiet=quiet, verbose=verbose)
    return _change(run_id, version, promotion, reason, as_json=json)


def rollback(
    run_id: flags.KnownRun,
    /,
    *,
    reason: Reason = "rolled back by a person",
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> int:
    """Go back to what a run's endpoint served before, on all instances at once.

    Raises:
        SettingsRefused: there is no such run, or it has served nothing else.
        KennelError: the kind that flows/promote.py names.
    """
    begin("kennel rollback", quiet=quiet, verbose=verbose)
    return _change(run_id, None, PromotionOptions(), reason, as_json=json)


def _change(run_id: str, version: str | None, promotion: PromotionOptions, reason: str, *, as_json: bool) -> int:
    from kennel.commands.flow_run import run_flow
    from kennel.commands.interrupted import handle_interrupts
    from kennel.commands.known_runs import run_dir_of

    handle_interrupts()
    run_dir_of(environment.home_and_runs()[1], run_id)
    require_running("promote")
    where = environment.start_servers(lambda: environment.import_flow("flows.promote"))
    from flows.promote import promote as flow

    _print(run_id, run_flow(flow(run_id, version, promotion, reason), where), as_json=as_json)
    return 0


def _print(run_id: str, done: Promotion, *, as_json: bool) -> None:
    if as_json:
        print_json({"run_id": run_id, **asdict(done)})
        return
    rows = {"model": done.release.label, "trained by": done.release.trained_by, "outcome": done.outcome}
    print_table(f"endpoint of {run_id}", {**rows, "steps": done.steps, "why": done.why})


def require_running(what: str) -> None:
    """Return if the embedded AWS runs, or real AWS is meant.

    Raises:
        SettingsRefused: the embedded AWS does not run.
    """
    if environment.connect_to_running() is None:
        why = "its registry and its endpoints ended with it"
        raise SettingsRefused(what, "localaws does not run", why, "kennel run, which trains and deploys a model")
