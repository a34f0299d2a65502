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
from typing import Any

from kennel import REFERENCE_DATA, surroundings
from kennel.console import print_json, print_table, say
from tasks.backbones import require_backbone
from tasks.errors import SettingsRefused
from tasks.ledger import live_rows
from tasks.settings import Settings

INTERRUPTED = 130
SAMPLE = "sample"


def run(parameters: Mapping[str, Any], *, data: str | None, allowed_hosts: tuple[str, ...], as_json: bool) -> int:
    """Run the pipeline with its parameters and return the exit code.

    Raises:
        SettingsRefused: a parameter is out of bounds, or the backbone is unknown.
        KennelError: the kind that the failing stage names.
    """
    tell_on_interrupt()
    require_backbone(parameters["backbone"])  # a typing slip should not wait for two servers to start
    where = surroundings.bring_up(meanwhile=_import_flows)
    say(f"AWS: {where.description}")
    _import_sdk_early(where.runs)

    from prefect.exceptions import ParameterTypeError

    from flows.pipeline import pipeline
    from tasks.report import summary_rows

    chosen = data or (SAMPLE if where.target == "local" else REFERENCE_DATA)
    try:
        summary = asyncio.run(pipeline(**{**parameters, "data": chosen, "allowed_hosts": allowed_hosts}))
    except ParameterTypeError as error:
        raise SettingsRefused("kennel run", "an argument is out of bounds", str(error), "kennel run --help") from error
    if as_json:
        print_json(summary.as_json())
    else:
        print_table(f"kennel run {summary.run_id}", summary_rows(summary))
    return 0


def _import_flows() -> None:
    """Import Prefect and the flows; errors are shown once, by the command, so Prefect's console stays silent."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    import flows.pipeline  # noqa: F401


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
        sys.stderr.flush()
        names = _own_runs_with_instances(runs)
        if names:
            os.write(2, b"\nkennel: interrupted; its EC2 instances are terminated first.\n")
            os.execv(sys.executable, [sys.executable, "-m", "kennel.interrupted", *names])  # noqa: S606
        text = (
            "\nkennel: interrupted. What was made so far is left as it is, and written in the run's ledger.\n"
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
