"""Two real models answer the same photos in one process, and the decision that follows is kept and not made twice."""

import multiprocessing
import os
import signal
import tarfile
from pathlib import Path

import numpy as np
import psutil
import pytest

from tasks.account.objects import put_object
from tasks.gate.answers import Answered, _predictions, answer_both
from tasks.gate.evaluation_set import EvaluationSet, freeze, held_out
from tasks.gate.gate import GateRecord, judge_models
from tasks.run.aws import Aws
from tasks.run.errors import DataRefused, StageFailed
from tasks.run.handle import Run
from tasks.run.records import DatasetRef
from tasks.run.settings import Settings
from tests.polling import wait_until
from tests.tasks.data.workplace import Workplace
from tests.tasks.gate.colour_models import COLOURS
from tests.tasks.gate.staged import colours, photo, staged_run, stored_model

SWAPPED = {**COLOURS, "red": COLOURS["green"], "green": COLOURS["red"]}
WITHOUT_RED = {name: COLOURS[name] for name in ("blue", "green")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def service(place: Workplace, folder: Path) -> Run:
    """The run of an endpoint with twelve test photos."""
    return staged_run(place, "champion", folder, colours(0, test=6))


@pytest.fixture(scope="module")
def champion(service: Run, folder: Path) -> str:
    """A model that takes red for green and green for red."""
    return stored_model(service, folder, SWAPPED)


@pytest.fixture(scope="module")
def challenger(place: Workplace, folder: Path) -> Run:
    """A run on other data."""
    return staged_run(place, "challenger", folder, colours(100))


@pytest.fixture(scope="module")
def rival(challenger: Run, folder: Path) -> str:
    """A model that is right of every photo."""
    return stored_model(challenger, folder)


def answered(run: Run, photos: EvaluationSet, archives: list[str]) -> tuple[list[Answered], tuple[str, ...]]:
    return answer_both(run, photos, held_out(run.aws, photos.parts), archives)


def test_both_models_answer_the_same_photos_with_a_column_for_each_class(
    service: Run, challenger: Run, champion: str, rival: str
) -> None:
    (first, second), classes = answered(challenger, freeze(service), [champion, rival])
    assert classes == ("red", "green", "blue")
    assert sorted(first.predictions.labels.tolist()) == [0] * 6 + [1] * 6
    assert np.array_equal(first.predictions.labels, second.predictions.labels)
    assert (first.predictions.predicted == 1 - first.predictions.labels).all()
    assert (second.predictions.predicted == second.predictions.labels).all()
    assert first.predictions.scores.shape == (12, 3) and first.predictions.scores.sum(1) == pytest.approx(1.0)
    assert first.seconds > 0 < second.seconds and min(first.size_bytes, second.size_bytes) > 1000


def test_photos_of_a_class_that_a_model_lacks_count_as_wrong(
    place: Workplace, service: Run, champion: str, folder: Path
) -> None:
    smaller = Run(place.aws, "smaller")
    smaller.keep(service.need(DatasetRef))
    uri = stored_model(smaller, folder, WITHOUT_RED)
    (_, found), classes = answered(smaller, freeze(service), [champion, uri])
    right = found.predictions.predicted == found.predictions.labels
    is_red = found.predictions.labels == classes.index("red")
    assert not right[is_red].any() and right[~is_red].all()
    assert (found.predictions.scores[:, classes.index("red")] == 0).all()


def test_a_photo_that_a_model_refused_counts_as_wrong_whatever_its_class() -> None:
    """A refused photo has the score 0 for every class, of which the first is no answer."""
    truth = np.array([0, 1, 2], np.int64)
    scores = np.array([[0, 0, 0], [0, 0, 0], [0.1, 0.2, 0.7]], np.float32)
    found = _predictions(scores, [0, 1, 2], truth, 3)
    assert (found.predicted == truth).tolist() == [False, False, True]


@pytest.mark.parametrize("content", [b"", b"no archive"], ids=["empty", "text"])
def test_a_damaged_archive_fails_the_gate_and_leaves_no_folder(
    service: Run, challenger: Run, champion: str, content: bytes
) -> None:
    bucket = challenger.need(DatasetRef).bucket
    put_object(challenger.aws, bucket, "runs/challenger/damaged", content, content_type="application/gzip")
    with pytest.raises(StageFailed, match="damaged has no readable meta"):
        answered(challenger, freeze(service), [champion, f"s3://{bucket}/runs/challenger/damaged"])
    assert list(challenger.folder.glob(".gate-*")) == []


def test_a_model_whose_files_were_changed_fails_the_gate_with_the_reason(
    place: Workplace, service: Run, champion: str, folder: Path
) -> None:
    changed = Run(place.aws, "changed")
    changed.keep(service.need(DatasetRef))
    uri = stored_model(changed, folder)
    whole = folder / "model-changed"
    (whole / "code" / "graphs.py").write_text("# changed\n")
    repack(place, whole, uri)
    with pytest.raises(StageFailed, match="the models could not answer the photos") as caught:
        answered(changed, freeze(service), [champion, uri])
    assert "code/graphs.py is not the file that training saved" in caught.value.why


def repack(place: Workplace, folder: Path, uri: str) -> None:
    archive = folder.with_suffix(".changed")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=".")
    key = uri.split("/", 3)[3]
    put_object(place.aws, place.aws.bucket, key, archive.read_bytes(), content_type="application/gzip")


def test_a_shard_that_lacks_a_photo_of_the_set_fails_the_gate(
    place: Workplace, folder: Path, champion: str, tmp_path: Path
) -> None:
    torn = staged_run(place, "torn", folder, colours(700))
    photos, dataset = freeze(torn), torn.need(DatasetRef)
    shard = min(shard for shard, _ in place.members(dataset) if shard.startswith("test/"))
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    content = (tmp_path / "empty.tar").read_bytes()
    put_object(torn.aws, dataset.bucket, f"{dataset.prefix}/{shard}", content, content_type="application/x-tar")
    with pytest.raises(StageFailed, match=r"[1-4] of the 4 photos of the evaluation set are not in their shards"):
        answered(torn, photos, [champion, champion])


def test_the_decision_is_kept_with_its_numbers_and_adopted_not_made_twice(
    service: Run, challenger: Run, champion: str, rival: str
) -> None:
    made = judge_models(service, challenger, champion, rival, asked="better", extend=False)
    assert (made.verdict, made.photos, made.only_challenger, made.only_champion) == ("better", 12, 12, 0)
    assert (made.champion_accuracy, made.challenger_accuracy, made.low > 0) == (0.0, 1.0, True)
    assert challenger.find(GateRecord) == made
    assert made.text.startswith("better: 1.0000 against 0.0000 on 12 photos, +1.0000")

    begun = challenger.path(GateRecord).stat().st_mtime_ns
    assert judge_models(service, challenger, champion, rival, asked="better", extend=False) == made
    assert challenger.path(GateRecord).stat().st_mtime_ns == begun


def test_what_was_killed_in_the_gate_is_judged_by_the_next_command_which_leaves_no_folder(
    place: Workplace, service: Run, champion: str, tmp_path: Path
) -> None:
    killed = staged_run(place, "killed", tmp_path, colours(900))
    uri = stored_model(killed, tmp_path)
    child = multiprocessing.get_context("fork").Process(target=_judge, args=(place.settings, champion, uri))
    child.start()
    wait_until(lambda: answering(killed), "the process that answers")
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(30)
    assert killed.find(GateRecord) is None and len(list(killed.folder.glob(".gate-*"))) == 1

    _judge(place.settings, champion, uri)
    assert killed.need(GateRecord).verdict == "better"
    assert list(killed.folder.glob(".gate-*")) == []
    wait_until(lambda: not answering(killed), "the end of the process that was left")


def _judge(settings: Settings, champion: str, uri: str) -> None:
    aws = Aws(settings)
    judge_models(Run(aws, "champion"), Run(aws, "killed"), champion, uri, asked="better", extend=False)


def answering(run: Run) -> list[int]:
    """Return the processes in which models answer for a run."""
    return [
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if "training.held_out" in (command := each.info["cmdline"] or []) and str(run.folder) in " ".join(command)
    ]


def test_a_decision_about_another_champion_or_on_other_terms_is_not_adopted(
    service: Run, challenger: Run, champion: str, rival: str
) -> None:
    made = judge_models(service, challenger, champion, rival, asked="better", extend=False)
    other = judge_models(service, challenger, rival, rival, asked="not worse", extend=False)
    assert (other.champion, other.asked, other.verdict) == (rival, "not worse", "not enough photos")
    assert other.may_be_promoted is False and made.evaluation_set == other.evaluation_set


def test_a_challenger_that_was_trained_on_photos_of_the_set_is_refused(
    place: Workplace, service: Run, champion: str, rival: str, tmp_path: Path
) -> None:
    known = {"train/red/known.jpg": photo("red", 3)}  # the first test photo of `colours(0, test=6)`
    cheat = staged_run(place, "cheat", tmp_path, colours(500, more=known))
    with pytest.raises(DataRefused, match="1 of its 12 photos were in the training data of run cheat"):
        judge_models(service, cheat, champion, rival, asked="better", extend=False)
    assert cheat.find(GateRecord) is None


def test_with_extend_the_decision_is_on_more_photos(service: Run, challenger: Run, champion: str, rival: str) -> None:
    before = service.need(EvaluationSet)
    made = judge_models(service, challenger, champion, rival, asked="better", extend=True)
    assert made.photos == 12 + 4 and made.evaluation_set != before.digest
    service.keep(before)
