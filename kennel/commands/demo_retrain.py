"""`kennel demo-retrain`: an endpoint's data grows and then gets worse; one challenger is promoted, one refused.

The data are parts of the demo's sample, so no network is needed. Its servers are those of the demo, or new ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kennel import SAMPLE
from kennel.servers import environment
from kennel.servers.localaws import Options
from kennel.terminal.console import print_columns, print_json, say
from tasks.run.errors import SettingsRefused
from tasks.run.options import DeployOptions, PromotionOptions, TrainingOptions

if TYPE_CHECKING:
    from tasks.retraining.record import Retraining

RUN = "retrain-demo"
TIME_SCALE = 90.0
PHOTOS = {"few": 2, "many": 24}
"""Of each class in the split train: at first, and after the data has grown."""
HELD_OUT, VALIDATION = 20, 6
TRAINING = TrainingOptions(views=1)
PROMOTION = PromotionOptions(shadow_minutes=2, bake_minutes=1.5, slower=3)
HEAD = ("day", "data", "outcome", "why")


def demo_retrain(*, as_json: bool) -> int:
    """Deploy a model of few photos, let its data grow, then spoil it; print what became of each challenger.

    Raises:
        SettingsRefused: real AWS is named.
        KennelError: the kind that a flow names.
    """
    from kennel.commands.flow_run import run_flow
    from kennel.commands.interrupted import handle_interrupts
    from tasks.run.settings import Settings

    settings = Settings.load()
    if settings.account_id is not None and settings.endpoint_url is None:
        why = "the demo is for the embedded AWS only; on real AWS it would cost money"
        raise SettingsRefused("kennel demo-retrain", "KENNEL_ACCOUNT_ID is set", why, "unset KENNEL_ACCOUNT_ID")
    handle_interrupts()
    options = Options() if environment.running_servers() else Options(time_scale=TIME_SCALE)
    where = environment.start_servers(lambda: environment.import_flow("flows.retrain"), options)
    found = run_flow(_days(where.home / SAMPLE), where)
    if as_json:
        print_json({"run_id": RUN, "days": [dict(zip(HEAD, each, strict=True)) for each in found]})
    else:
        print_columns(HEAD, found, folds_all=True)
        say(f"kennel models {RUN} lists the versions; kennel down {RUN} removes what this made")
    return 0


async def _days(folder: Path) -> list[tuple[str, str, str, str]]:
    from flows.pipeline import pipeline
    from flows.retrain import retrain
    from tasks.data.sample import make_sample
    from tasks.run.settings import Settings

    sample, data = make_sample(Settings.load().home), folder / RUN
    write_part(sample, data, PHOTOS["few"])
    deploy = DeployOptions(instances=2)
    await pipeline(str(data), RUN, TRAINING, deploy=deploy, load_test=False)
    rows = [("1", f"{PHOTOS['few']} photos of each class", "deployed", "the first model")]
    for day, told, change in _changes(sample, data):
        change()
        done: Retraining = await retrain(RUN, promotion=PROMOTION)
        rows.append((day, told, done.outcome, done.why))
    return rows


def _changes(sample: Path, data: Path) -> list[tuple[str, str, Callable[[], Any]]]:
    many = PHOTOS["many"]
    return [
        ("2", "as before", lambda: None),
        ("3", f"{many} photos of each class", lambda: write_part(sample, data, many)),
        ("4", "only 1 photo of each class is left", lambda: write_part(sample, data, 1)),
    ]


def write_part(sample: Path, data: Path, photos: int) -> None:
    """Write a part of the sample in place of another: so many photos of each class to train on, the same to test on."""
    shutil.rmtree(data, ignore_errors=True)
    for split, count in (("train", photos), ("valid", VALIDATION), ("test", HELD_OUT)):
        for folder in sorted((sample / split).iterdir()):
            target = data / split / folder.name
            target.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copyfile(file, target / file.name)
