"""A model's meta.json may be of anyone: each member that is used is checked, and refused with what is allowed."""

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kennel
from tasks.run.errors import StageFailed
from tests.training.datasets import CLASSES, Trained
from training.graphs import checksum_of
from training.preprocess import LONGEST_SIDE, Preprocessing
from training.serve import BadModel, model_fn

NUMBERS: list[Any] = [True, 0, -1, 2.5, float("nan"), float("inf"), 10**400]
WRONG: list[Any] = [None, *NUMBERS, "", "\x1b[2J", [], [[]], {}, {"a": 1}]
WRONG_CHANNELS: list[Any] = [[0.5] * 4, [0.5, 0.5, "0.5"], [0.5, 0.5, float("nan")], [0.5, 0.5, 2]]
USED = ("classes", "preprocessing", "backbone", "data_digest", "files", "graph")
Change = Callable[[dict[str, Any]], object]


def with_meta(trained: Trained, folder: Path, change: Change) -> Path:
    """Return a copy of the model whose meta.json was changed and sealed again, as a forger would."""
    if not folder.exists():
        shutil.copytree(trained.folder, folder)
    meta = json.loads((trained.folder / "meta.json").read_text())
    change(meta)
    (folder / "meta.json").write_text(json.dumps({**meta, "checksum": checksum_of(meta)}))
    return folder


def refusal(trained: Trained, folder: Path, change: Change) -> str:
    with pytest.raises(BadModel) as caught:
        model_fn(str(with_meta(trained, folder, change)))
    return str(caught.value)


def replaced(member: str, wrong: Any, *, of: str | None = None) -> Change:
    return lambda meta: (meta if of is None else meta[of]).update({member: wrong})


@pytest.mark.parametrize("member", USED)
def test_each_member_that_serving_uses_is_refused_with_any_wrong_value(
    trained: Trained, tmp_path: Path, member: str
) -> None:
    for wrong in WRONG:
        said = refusal(trained, tmp_path / "model", replaced(member, wrong))
        is_named = f"meta.json cannot be used: {member} is " in said and "; allowed is " in said
        assert is_named or (wrong == {} and "graph.xml is missing from" in said), said
        assert len(said) < 1000 and said.isprintable()


@pytest.mark.parametrize("member", ["resize", "crop", "interpolation", "mean", "deviation"])
def test_each_field_of_the_preprocessing_is_refused_with_any_wrong_value(
    trained: Trained, tmp_path: Path, member: str
) -> None:
    for wrong in [*WRONG, *WRONG_CHANNELS, 10**9, "224"]:
        said = refusal(trained, tmp_path / "model", replaced(member, wrong, of="preprocessing"))
        assert f"meta.json cannot be used: {member} is " in said and "; allowed is " in said, said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda meta: meta["preprocessing"].update(crop=225), "graph.xml has the shapes"),
        (lambda meta: meta["preprocessing"].update(crop=257), "crop is 257; allowed is a whole number of px from"),
        (
            lambda meta: meta["preprocessing"].update(resize=10**9),
            f"number of px from 16 to {LONGEST_SIDE}",
        ),
        (lambda meta: meta["preprocessing"].pop("crop"), "allowed is an object with resize, crop, interpolation"),
        (lambda meta: meta["preprocessing"].update(deviation=[0.5, 0, 0.5]), "allowed is no 0"),
        (lambda meta: meta["preprocessing"].update(interpolation="sinc"), "allowed is one of nearest"),
        (lambda meta: meta["classes"].append("more"), "graph.xml has the shapes"),
        (lambda meta: meta["classes"].pop(), "graph.xml has the shapes"),
        (lambda meta: meta.update(classes=[CLASSES[0]] * len(CLASSES)), "names in UTF-8, each once"),
        (lambda meta: meta.update(classes=["a", "b", 3]), "names in UTF-8"),
        (lambda meta: meta.update(classes=["a", "b", "\udcff"]), "names in UTF-8"),
        (lambda meta: meta.update(classes=["a", "b", " "]), "none blank"),
        (lambda meta: meta["graph"].update(precision="int4"), "precision is bf16 or f32"),
        (lambda meta: meta["graph"].pop("precision"), "precision is bf16 or f32"),
        (lambda meta: meta["files"].update({"graph.xml": 3}), "files is "),
        (lambda meta: meta["files"].pop("graph.bin"), "graph.bin is missing"),
        (lambda meta: meta.pop("classes"), "there is no classes"),
        (lambda meta: meta.update(backbone="x" * 1000), "backbone is 'xxx"),
    ],
)
def test_a_hostile_archive_is_refused_with_where_what_and_what_is_allowed(
    trained: Trained, tmp_path: Path, change: Change, why: str
) -> None:
    folder, archive = with_meta(trained, tmp_path / "model", change), tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(folder, ".")

    with pytest.raises(StageFailed, match=re.escape(why)) as caught:
        kennel.load_model(archive)
    assert caught.value.what == f"{archive} cannot be loaded" and caught.value.why.startswith("the archive: ")
    assert caught.value.next_command.startswith("kennel runs") and len(caught.value.why) < 1000


DEEP = '{"a":' * 2_000 + "1" + "}" * 2_000


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "{}", "[" * 100_000, DEEP, "1" * 5_000, "\xff"],
    ids=["list", "null", "empty", "brackets", "deep", "digits", "no UTF-8"],
)
def test_what_is_no_meta_is_refused(trained: Trained, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "model")
    (folder / "meta.json").write_text(text, encoding="latin-1")

    with pytest.raises(BadModel, match=r"no readable meta\.json|is not the file that training saved"):
        model_fn(str(folder))


def test_the_preprocessing_that_a_file_of_weights_states_is_checked_alike() -> None:
    wrongs: list[dict[str, Any]] = [{"crop": 10**9}, {"mean": [float("nan")] * 3}, {"interpolation": []}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="; allowed is "):
            Preprocessing.from_json({**vars(Preprocessing()), **wrong})
    assert Preprocessing.from_json(json.loads(json.dumps(vars(Preprocessing())))) == Preprocessing()
