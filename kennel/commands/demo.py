"""`kennel demo`: `kennel run` on sample images, with request rates, limits and a clock that suit this machine.

The machine is measured for two seconds before the embedded AWS is started, because the clock and the limits of the
instances are fixed when the server starts. With a server that runs already, the demo is repeated with the same values.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from kennel import SAMPLE
from kennel.commands.pipeline_options import PipelineOptions
from kennel.commands.run import run_pipeline
from kennel.servers import localaws
from kennel.terminal.console import say
from tasks.load.options import PipelineLoadOptions
from tasks.load.pace import Pace, measure_pace
from tasks.run.errors import SettingsRefused
from tasks.run.options import TrainingOptions
from tasks.run.record_store import write_atomically
from tasks.run.sealed import Damaged, read_regular, seal, unseal
from tasks.run.settings import Settings

TYPE = "ml.m5.large"
TIME_SCALE = 90.0
CONCURRENCY = 4
FLOOR_MS = 40.0
STARTUP_SECONDS = 120.0
TRIALS = 8
RECORD = "demo.json"
"""The file in kennel's home that records the pace for which the running embedded AWS was started."""


def demo(*, as_json: bool, account: str | None = None, strict: bool | None = None) -> int:
    """Run all stages on the sample with a load that suits this machine, and return the exit code.

    `account` and `strict` are options of the embedded AWS; None: those of the one that runs, or its defaults.

    Raises:
        SettingsRefused: real AWS is named.
        WaitTimedOut: the machine could not be measured.
        KennelError: the kind that the failing stage names.
    """
    share = prepare().share
    aws = replace(options_at(share), account=account, strict=strict)
    return run_pipeline(pipeline_at(share), as_json=as_json, aws=aws)


def pipeline_at(share: float) -> PipelineOptions:
    """Return the options of the pipeline: all stages of `kennel run`, with the check of the scaling plan.

    The plan is tested even if this machine cannot carry its traffic: the verdicts then say so.
    """
    return PipelineOptions(
        TrainingOptions(instances=2, trials=TRIALS),
        ec2_instances=1,
        load=PipelineLoadOptions(mode="checked", pace=share, forces=True),
        data=SAMPLE,
    )


def prepare() -> Pace:
    """Return the pace for which the running embedded AWS was started, or measure this machine for two seconds.

    Raises:
        SettingsRefused: real AWS is named.
        WaitTimedOut: the machine could not be measured.
    """
    settings = Settings.load()
    if settings.account_id is not None and settings.endpoint_url is None:
        why = "the demo is for the embedded AWS only; on real AWS it would cost money"
        raise SettingsRefused("kennel demo", "KENNEL_ACCOUNT_ID is set", why, "unset KENNEL_ACCOUNT_ID, or kennel run")
    pace = _kept(settings.home)
    if pace is None:
        say("measuring the speed of this machine for two seconds")
        pace = measure_pace()
        write_atomically(settings.home / RECORD, seal(asdict(pace)))
    say(f"the demo runs at {pace.share:.0%} of its request rates: {pace.text}")
    return pace


def options_at(share: float) -> localaws.Options:
    """Return the options of the embedded AWS, in which everything takes 1 / `share` times as long."""
    return localaws.Options(
        time_scale=TIME_SCALE * share,
        capacity=(f"{TYPE}={CONCURRENCY}:{FLOOR_MS / share:.0f}ms",),
        instance_startup_seconds=STARTUP_SECONDS,
    )


def _kept(home: Path) -> Pace | None:
    record = home / RECORD
    if localaws.find(home) is None or not record.exists():
        return None
    try:
        return Pace(**unseal(read_regular(record)))
    except (Damaged, TypeError):
        return None  # it is damaged and measured anew; a file of another release has other fields
