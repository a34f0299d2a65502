"""`kennel predict`: asks a run's live endpoint, or the model that the run keeps, for the classes of photos."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kennel.commands.known_runs import run_dir_of
from kennel.commands.status import describe_run
from kennel.servers import environment
from kennel.terminal.console import begin, print_columns, print_json, say
from tasks.run.disk import disk_boundary
from tasks.run.errors import KennelError, SettingsRefused
from tasks.run.escaping import csv_text
from tasks.run.own_files import require_replaceable
from tasks.run.source_name import source_name

if TYPE_CHECKING:
    from tasks.run.handle import RunFolder

MOST_SENT_BYTES = 4_400_000
"""Of a photo in an event: Lambda takes 6 MB, and base64 makes four bytes of three."""

AT_ONCE = 4
HEAD = ("photo", "class", "score", "next", "score")
FAILED = 9


@dataclass(frozen=True)
class Predicted:
    """What was answered for one photo: the best class and its probability; or the error, and no scores."""

    photo: str
    label: str | None = None
    score: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    @staticmethod
    def of(photo: str, scores: dict[str, float]) -> Predicted:
        """Take the class of the highest probability."""
        best = max(scores, key=scores.__getitem__)
        return Predicted(photo, best, scores[best], scores)

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table below `HEAD`: the best class and the next one, or the error."""
        if self.error is not None:
            return (self.photo, f"FAILED: {self.error}", "", "", "")
        ranked = sorted(self.scores.items(), key=lambda entry: -entry[1])[:2]
        return (self.photo, *(text for label, score in ranked for text in (label, f"{score:.3f}")))


Ask = Callable[[str], dict[str, float]]
"""Returns the probability of each class for a photo's path or URL."""


def predict(
    run_id: str, given: Sequence[str], *, is_local: bool, csv_file: Path | None, html_file: Path | None, as_json: bool
) -> int:
    """Print the class of each photo; the exit code is 9 when one could not be classified.

    Raises:
        SettingsRefused: there is no such run, no photo, or nothing that could answer.
        StageFailed: the kept model cannot be loaded.
        DiskFailed: a file cannot be written.
    """
    from tasks.run.handle import RunFolder
    from tasks.run.progress import show_progress
    from tasks.run.record_store import write_atomically

    begin("kennel predict")
    home, runs = environment.home_and_runs()
    environment.say_home(home)
    run_dir = run_dir_of(runs, run_id)
    for option, file in (("--csv", csv_file), ("--html", html_file)):
        _require_writable(option, file)
    photos = list(_photos(given))
    ask, who = _answering(RunFolder(run_dir), home, is_local=is_local)
    say(f"{len(photos)} photo{'s' if len(photos) > 1 else ''}, answered by {who}")
    found = []
    with show_progress("classify", len(photos), "photos") as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        for each in pool.map(lambda photo: _one(photo, ask), photos):
            found.append(each)
            progress.advance(1)
    if csv_file is not None:
        write_atomically(csv_file, _csv(found).encode())
        say(f"written: {csv_file}")
    if html_file is not None:
        from tasks.page.predictions import predictions_page

        rows = [(each.photo, each.label, each.score, each.error) for each in found]
        write_atomically(html_file, predictions_page(run_id, who, rows).encode())
        say(f"written: {html_file}")
    if as_json:
        print_json({"run_id": run_id, "answered_by": who, "predictions": [asdict(each) for each in found]})
    else:
        print_columns(HEAD, [each.cells for each in found], folds_all=True)
    return FAILED if any(each.error is not None for each in found) else 0


def _require_writable(option: str, file: Path | None) -> None:
    """Refuse a file that cannot be written before anybody is asked.

    Raises:
        SettingsRefused: it is a folder, or its folder does not exist.
        DiskFailed: its folder takes no file.
    """
    if file is None:
        return
    if file.is_dir() or not file.parent.is_dir():
        why = "it is a folder" if file.is_dir() else f"there is no folder {file.parent}"
        raise SettingsRefused("predict", f"{option} {file}", why, f"{option} with a file in a folder that exists")
    with disk_boundary("predict", file):
        require_replaceable(file)


def _photos(given: Sequence[str]) -> Iterator[str]:
    """Yield the URLs and files that were named, and every photo below the folders that were.

    Raises:
        SettingsRefused: a file does not exist, or a folder has no photo.
    """
    if not given:
        raise SettingsRefused("photos", "none", "no photo was named", "kennel predict RUN PHOTO, a folder, or a URL")
    from training.pictures import SUFFIXES

    for name in given:
        path = Path(name)
        if "://" in name or path.is_file():
            yield name
            continue
        inside = sorted(str(file) for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not inside:
            of_folder = f"it has no photo ({', '.join(SUFFIXES[:5])}, ...)"
            why = of_folder if path.is_dir() else "there is no such file or folder"
            raise SettingsRefused("photos", name, why, "name a photo, a folder of photos, or a URL")
        yield from inside


def _answering(run: RunFolder, home: Path, *, is_local: bool) -> tuple[Ask, str]:
    """Return what answers, the live function or the kept model, and what it is called."""
    live = None if is_local else _live_function(run, home)
    if live is not None:
        return live
    if not is_local:
        say("no endpoint of this run is live, so the model that it keeps answers")
    from kennel.local_model import load_model
    from tasks.sagemaker.download import load_download

    model = load_model(run.folder)
    if load_download(run) is None:
        say(f"WARNING: the model in {run.folder} is not the one that the run's record names")

    def ask(photo: str) -> dict[str, float]:
        if "://" in photo:
            raise ValueError("a URL is fetched by the live function only; download the photo and name the file")
        return model.predict(photo).scores

    return ask, f"the model in {run.folder}"


def _live_function(run: RunFolder, home: Path) -> tuple[Ask, str] | None:
    """Return what asks the deployed function; None when it is not there any more, or its AWS does not run."""
    from tasks.run.records import FunctionRef, TrainedModel

    function, model = run.find(FunctionRef), run.find(TrainedModel)
    if function is None or model is None or environment.connect_to_running() is None:
        return None
    described = describe_run(run.folder, environment.present_aws(home))
    there = {(row["kind"], row["name"]) for row in described["live"]}
    if not {("function", function.name), ("endpoint", function.endpoint_name)} <= there:
        return None
    asked = os.environ.get("AWS_ENDPOINT_URL")
    if described["endpoint"] != ("aws" if asked is None else source_name(asked)):
        say(f"the endpoint of this run is in another AWS ({described['endpoint']}), which is not asked")
        return None
    from tasks.run.aws import Aws
    from tasks.run.settings import Settings
    from tasks.serving.asking import invoke, scores_of

    aws, where = Aws(Settings.load()), "predict"

    def ask(photo: str) -> dict[str, float]:
        text, _ = invoke(aws, function, json.dumps(_event(photo)).encode(), where)
        return scores_of(text, model.classes, where)

    return ask, f"{function.name}:{function.alias}"


def _event(photo: str) -> dict[str, str]:
    if "://" in photo:
        return {"url": photo}
    content = Path(photo).read_bytes()
    if len(content) > MOST_SENT_BYTES:
        raise ValueError(f"it has {len(content) / 1e6:.1f} MB, and an event {MOST_SENT_BYTES / 1e6:g} MB; use --local")
    return {"image": base64.b64encode(content).decode()}


def _one(photo: str, ask: Ask) -> Predicted:
    try:
        return Predicted.of(photo, ask(photo))
    except KennelError as error:
        return Predicted(photo, error=f"{error.what}: {error.why}")
    except (ValueError, OSError) as error:
        return Predicted(photo, error=str(error))


def _csv(found: Sequence[Predicted]) -> str:
    classes = next((list(each.scores) for each in found if each.scores), [])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photo", "class", "score", "error", *(f"score of {csv_text(name)}" for name in classes)])
    for each in found:
        score = "" if each.score is None else f"{each.score:.6g}"
        best = [csv_text(each.photo), csv_text(each.label or ""), score, csv_text(each.error or "")]
        writer.writerow([*best, *(f"{each.scores[name]:.6g}" if each.scores else "" for name in classes)])
    return text.getvalue()
