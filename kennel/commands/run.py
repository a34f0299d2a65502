"""`kennel run`: bring up what is missing, run the pipeline in this process, print what came of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from kennel import REFERENCE_DATA
from kennel.commands.data_argument import SAMPLE as SAMPLE
from kennel.commands.data_argument import forget_refused, judge_argument
from kennel.servers import localaws, surroundings
from kennel.terminal import console
from tasks.model.backbones import require_backbone
from tasks.run import naming
from tasks.run.errors import DataRefused, SettingsRefused, StageFailed
from tasks.run.ledger import live_rows
from tasks.run.settings import Settings

if TYPE_CHECKING:
    from tasks.report.summary import RunSummary

INTERRUPTED = 130
SEE_VERDICTS = "the verdicts above; their reasons are in the report"
_OF_THE_RUN = (
    *("backbone", "instances", "instance_type", "epochs", "views", "batch_size", "learning_rate", "seed"),
    *("finetune", "weights", "spot"),
)


def run(
    parameters: Mapping[str, Any],
    *,
    data: str | None,
    allowed_hosts: tuple[str, ...],
    as_json: bool,
    options: localaws.Options = localaws.AS_IT_IS,
) -> int:
    """Run the pipeline with its parameters and return the exit code; `options` are for the embedded AWS.

    The table comes also when the load test failed the command: then the error follows it.

    Raises:
        SettingsRefused: a parameter is out of bounds, or the backbone is unknown.
        KennelError: the kind that the failing stage names.
    """
    tell_on_interrupt()
    require_backbone(parameters["backbone"])  # a typing slip should not wait for two servers to start
    if data is not None:
        judge_argument(data, Settings.load())
    where = surroundings.bring_up(lambda: surroundings.import_flow("flows.pipeline"), options)
    console.say(f"AWS: {where.description}")
    _import_sdk_early(where.runs)
    chosen = data or (SAMPLE if where.target == "local" else REFERENCE_DATA)
    of_the_run = {name: parameters[name] for name in _OF_THE_RUN}
    run_dir = where.runs / (parameters["run_id"] or naming.training_run_id(chosen, **of_the_run))
    console.works_on(run_dir)
    refused = _run_flow({**parameters, "data": chosen, "allowed_hosts": allowed_hosts}, run_dir)
    return _show(run_dir, refused, where, as_json=as_json)


def _run_flow(arguments: Mapping[str, Any], run_dir: Path) -> StageFailed | None:
    """Run the flow; return the error of a run that is whole but for its load test, whose records are all there."""
    from prefect.exceptions import ParameterTypeError

    from flows.pipeline import STAGE, pipeline

    record = run_dir / f"{STAGE}.json"
    before = record.stat().st_mtime_ns if record.exists() else None
    try:
        asyncio.run(pipeline(**arguments))
    except ParameterTypeError as error:
        raise SettingsRefused("kennel run", "an argument is out of bounds", str(error), "kennel run --help") from error
    except DataRefused:
        forget_refused(run_dir)
        raise
    except StageFailed as error:
        if not record.exists() or record.stat().st_mtime_ns == before:
            raise
        return error
    return None


def _show(run_dir: Path, refused: StageFailed | None, where: surroundings.Surroundings, *, as_json: bool) -> int:
    """Print what came of it from the run's records; an error goes on after the table, or is part of the JSON."""
    from tasks.report.rows import summary_json
    from tasks.report.summary import summarise

    summary = summarise(run_dir)
    if as_json:
        console.print_json(summary_json(summary) | ({} if refused is None else console.error_json(refused)))
        return 0 if refused is None else console.print_error(refused, as_json=False)
    _print(summary, run_dir, where)
    if refused is None:
        return 0
    return console.print_error(refused, as_json=False, why=None if summary.scaling is None else SEE_VERDICTS)


def _print(summary: RunSummary, run_dir: Path, where: surroundings.Surroundings) -> None:
    from kennel.commands.outcome import next_lines, verdict_lines
    from tasks.report.rows import summary_rows

    console.print_table(f"kennel run {summary.run_id}", summary_rows(summary))
    if summary.scaling is not None:
        console.print_lines(verdict_lines(summary.scaling.verdicts))
    if not console.is_quiet():
        console.print_commands(next_lines(run_dir, summary.function, where.home, is_local=where.target == "local"))


def _import_sdk_early(runs: Path) -> None:
    """Import the SageMaker SDK (4 s) beside the staging, unless an earlier run here makes it unlikely to be needed."""
    if not any(runs.glob("*/train_sagemaker.json")):
        threading.Thread(target=__import__, args=("sagemaker.train",), daemon=True).start()


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
