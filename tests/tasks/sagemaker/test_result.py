"""The result of a job is read from its artefact, which is treated as hostile, and held against the job and the data."""

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tasks.model.archive import read_meta
from tasks.run.errors import StageFailed
from tasks.run.records import Hyperparameters
from tasks.sagemaker.result import read_result
from tests.tasks.sagemaker.jobs import DATA, archive, description, meta, plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.tar.gz"


def read(path: Path, content: dict[str, Any], **of_job: Any) -> Any:
    members: dict[str, bytes | tarfile.TarInfo] = {
        "model.safetensors": b"0" * 1000,
        "meta.json": json.dumps(content).encode(),
    }
    path.write_bytes(archive(members))
    return read_result(plan(), description(**of_job), path)


def test_a_result_has_its_accuracy_with_n_its_time_and_its_cost(path: Path) -> None:
    model = read(path, meta())
    assert (model.test_accuracy, model.test_images, model.seconds) == (0.875, 8, 90.0)
    assert model.cost_usd == pytest.approx(0.23 * 2 * 60 / 3600)
    assert (model.classes, model.git_commit) == (("x", "y"), "abc")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["y", "x"]}, "classes"),
        ({"data_digest": "another"}, "data digest another"),
        ({"metrics": {"test_accuracy": 0.875, "test_images": 7}}, "test images 7"),
        ({"metrics": {"test_accuracy": 0.99, "test_images": 8}}, "test_accuracy 0.99"),
        ({"metrics": {}}, "lacks 'test_images'"),
    ],
)
def test_a_model_that_disagrees_with_its_data_or_its_job_is_refused(
    path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(StageFailed, match="does not agree") as caught:
        read(path, meta(**changes))
    assert said in caught.value.why


def searched(*losses: float | None, winner: int) -> dict[str, Any]:
    """Return a meta.json with trials of these losses; None is a failed trial."""
    trials = [
        {
            "number": number,
            "parameters": {"dropout": 0.1 * number},
            "state": "failed" if loss is None else "complete",
            "losses": [] if loss is None else [loss],
            "loss": loss,
            "accuracy": None if loss is None else 0.5,
            "images": 8,
            "seconds": 1.0,
            "reason": "it diverged" if loss is None else "",
            "sample_losses": None,
        }
        for number, loss in enumerate(losses)
    ]
    space = {"dropout": {"low": 0.0, "high": 0.7, "scale": "linear"}}
    found = {"objective": "validation loss per sample", "space": space, "seed": 0, "winner": winner, "seconds": 3.0}
    return meta(search={**found, "trials": trials, "against_default": None})


def test_a_search_is_read_and_its_winner_found_anew(path: Path) -> None:
    model = read(path, searched(0.5, 0.3, None, 0.3, winner=1))
    assert (model.search.best.number, model.search.count("failed")) == (1, 1)
    assert read(path, meta()).search is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (searched(0.5, 0.3, winner=0), "it names trial 0, and the lowest loss is that of trial 1"),
        (searched(0.5, 0.3, 0.3, winner=2), "the lowest loss is that of trial 1"),
        (searched(None, None, winner=0), "empty"),
        (meta(search={"winner": 0}), "objective"),
        (meta(search="none"), "dictionary"),
    ],
)
def test_a_search_that_chose_another_trial_than_the_best_is_refused(
    path: Path, content: dict[str, Any], said: str
) -> None:
    with pytest.raises(StageFailed) as caught:
        read(path, content)
    assert said in caught.value.why


def test_a_job_without_a_test_metric_is_refused(path: Path) -> None:
    with pytest.raises(StageFailed, match="does not agree"):
        read(path, meta(), accuracy=float("nan"))


def test_a_link_in_place_of_meta_json_is_refused(path: Path) -> None:
    link = tarfile.TarInfo("meta.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path.write_bytes(archive({"meta.json": link}))
    with pytest.raises(StageFailed) as caught:
        read_meta(path, "s3://b/m/model.tar.gz")
    assert "not a regular file" in caught.value.why


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"not tar" * 200), archive({"other": b"1"})],
    ids=["not gzip", "not tar", "no meta.json"],  # the bytes have the time in them
)
def test_a_damaged_archive_is_refused_by_name(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StageFailed, match=r"s3://b/m/model\.tar\.gz has no readable meta\.json"):
        read_meta(path, "s3://b/m/model.tar.gz")


def test_the_job_name_follows_everything_that_makes_the_job_another_one_and_nothing_else() -> None:
    import dataclasses

    base = plan()
    same = dataclasses.replace(base, git_commit="other", code_dir=Path("elsewhere"))
    others = [
        dataclasses.replace(base, instance_count=1),
        dataclasses.replace(base, spot=True),
        dataclasses.replace(base, code_digest="d"),
        dataclasses.replace(base, hyperparameters=Hyperparameters(backbone="resnet50", epochs=4)),
        dataclasses.replace(base, dataset=dataclasses.replace(DATA, prefix="datasets/e")),
    ]
    assert same.base_name == base.base_name
    assert len({item.base_name for item in [base, *others]}) == 6
