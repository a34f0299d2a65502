"""The photos that models are judged by stay the same, grow only when asked to, and were seen by no model."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.account.objects import put_object
from tasks.gate.evaluation_set import EvaluationSet, Part, freeze, held_out, read_rows, refuse_trained
from tasks.run.errors import DataRefused, MalformedAnswer
from tasks.run.handle import Run
from tasks.run.records import DatasetRef
from tests.tasks.data.workplace import Workplace
from tests.tasks.gate.staged import colours, photo, staged_run


@pytest.fixture(scope="module")
def staged(place: Workplace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, DatasetRef]:
    """Datasets by what they are: two without a common photo, and one whose training has test photos of the first."""
    folder, first = tmp_path_factory.mktemp("zips"), colours(0)
    leaked = {
        "train/red/renamed.jpg": first["test/red/0.jpg"],
        "valid/green/again.jpg": first["test/green/1.jpg"],
        "test/red/same.jpg": first["test/red/1.jpg"],
    }
    files = {"first": first, "second": colours(100), "leaked": colours(200, more=leaked)}
    return {name: staged_run(place, name, folder, each).need(DatasetRef) for name, each in files.items()}


@pytest.fixture
def service(place: Workplace, staged: dict[str, DatasetRef]) -> Run:
    """A run of the first dataset that has frozen nothing."""
    run = Run(place.aws, "service")
    run.forget(EvaluationSet)
    run.keep(staged["first"])
    return run


def test_the_set_is_the_test_split_of_the_runs_own_data_and_is_kept(service: Run) -> None:
    found = freeze(service)
    assert (found.photos, [part.digest for part in found.parts]) == (4, [service.need(DatasetRef).digest])
    assert service.find(EvaluationSet) == found
    assert {row.split for row in held_out(service.aws, found.parts).values()} == {"test"}
    assert ("s3-prefix", found.resources[0][1]) in {(row.kind, row.name) for row in service.ledger.live()}


def test_it_stays_the_same_when_another_dataset_comes(service: Run, staged: dict[str, DatasetRef]) -> None:
    before = freeze(service)
    service.keep(staged["second"])
    assert freeze(service) == before


def test_it_grows_only_when_asked_to_and_once(service: Run, staged: dict[str, DatasetRef]) -> None:
    before, grown = freeze(service), freeze(service, staged["second"])
    assert (grown.photos, len(grown.parts)) == (8, 2) and grown.digest != before.digest
    assert freeze(service, staged["second"]) == grown == freeze(service) == freeze(service, staged["first"])


def test_a_photo_that_is_in_two_parts_counts_once(service: Run, staged: dict[str, DatasetRef]) -> None:
    freeze(service)
    parts = (Part.of(staged["first"]), Part.of(staged["leaked"]))
    assert len(held_out(service.aws, parts)) == 4 + 5 - 1


def test_a_photo_of_the_set_that_a_model_was_trained_on_is_refused_under_any_name(
    service: Run, staged: dict[str, DatasetRef]
) -> None:
    photos, rows = held_out(service.aws, freeze(service).parts), read_rows(service.aws, Part.of(staged["leaked"]))
    with pytest.raises(DataRefused, match="2 of its 4 photos were in the training data of run x") as caught:
        refuse_trained(photos, rows, "run x")
    assert "train: " in caught.value.why and "renamed.jpg" in caught.value.why and "again.jpg" in caught.value.why
    refuse_trained(photos, read_rows(service.aws, Part.of(staged["second"])), "run x")


def test_photos_that_the_champion_was_trained_on_are_not_added(
    place: Workplace, service: Run, staged: dict[str, DatasetRef], tmp_path: Path
) -> None:
    before = freeze(service)
    own = {"test/red/known.jpg": photo("red", 0)}
    challenger = staged_run(place, "known", tmp_path, colours(300, more=own)).need(DatasetRef)
    with pytest.raises(DataRefused, match="1 of its 9 photos were in the training data of run service"):
        freeze(service, challenger)
    assert service.find(EvaluationSet) == before


@pytest.mark.parametrize("content", [b"{}\n", b"[]\n", b"no json\n", b'{"split": "test"}\n'])
def test_a_damaged_list_of_photos_is_malformed(service: Run, staged: dict[str, DatasetRef], content: bytes) -> None:
    part = replace(Part.of(staged["first"]), prefix="datasets/damaged")
    put_object(service.aws, part.bucket, f"{part.prefix}/images.jsonl", content, content_type="text/plain")
    with pytest.raises(MalformedAnswer, match=r"images\.jsonl is not what was staged"):
        read_rows(service.aws, part)
