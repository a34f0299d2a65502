"""What `kennel demo` does beyond `kennel run`: rates, least times and a clock that fit this machine.

The machine is measured for two seconds before the embedded AWS is started, because the clock and the limits of its
instances are the server's own. A server that runs already keeps both: the demo is then repeated as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kennel.servers import localaws
from kennel.terminal.console import say
from tasks.load.pace import Pace, measure_pace
from tasks.run.errors import SettingsRefused
from tasks.run.records import write_atomically
from tasks.run.settings import Settings

TYPE = "ml.m5.large"
TIME_SCALE = 90.0
CONCURRENCY = 4
FLOOR_MS = 40.0
STARTUP_SECONDS = 120.0
RECORD = "demo.json"
"""In the home of kennel: the pace that the running embedded AWS was started for."""
_AS_USUAL = ("instance_type", "epochs", "views", "batch_size", "learning_rate", "weights", "run_id")
PARAMETERS: Mapping[str, Any] = {
    "backbone": "efficientnet_lite0",
    "instances": 2,
    "ec2_instances": 1,
    "seed": 0,
    "finetune": False,
    "spot": False,
    "load_mode": "checked",
    **dict.fromkeys(_AS_USUAL),
}


def prepare() -> Pace:
    """Return the pace of the demo whose embedded AWS runs, or measure this machine for two seconds.

    Raises:
        SettingsRefused: real AWS is named.
        WaitTimedOut: the machine could not be measured.
    """
    settings = Settings.load()
    if settings.account_id is not None and settings.endpoint_url is None:
        why = "the demo is for the embedded AWS: on real AWS it would cost money, for pictures of digits"
        raise SettingsRefused("kennel demo", "KENNEL_ACCOUNT_ID is set", why, "unset KENNEL_ACCOUNT_ID, or kennel run")
    pace = _kept(settings.home)
    if pace is None:
        say("this machine is measured for two seconds")
        pace = measure_pace()
        write_atomically(settings.home / RECORD, json.dumps(asdict(pace)).encode())
    say(f"the demo at {pace.share:.0%} of its rates: {pace.text}")
    return pace


def options_at(share: float) -> localaws.Options:
    """Return what the embedded AWS is started with: everything takes 1 / `share` times as long."""
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
        return Pace(**json.loads(record.read_text()))
    except (ValueError, TypeError):
        return None  # another release wrote it
