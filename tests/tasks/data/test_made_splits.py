"""Tests of staging sources that people have: splits that are made and kept, leaks, tables of labels, odd names."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.data.judgement_cache import JudgementCache
from tasks.data.left_out import write_left_out
from tasks.data.report import finding_lines
from tasks.data.split_record import SplitRecord
from tasks.data.staging import judge_source, locate
from tasks.run.data_choice import chosen_data_options
from tasks.run.errors import DataRefused, LedgerRefused
from tasks.run.options import DataOptions
from tasks.run.progress import LineProgress
from tasks.run.records import Quarantined
from tasks.run.settings import Settings
from tests.tasks.data.datasets import encoded, good_files, jpeg, picture, write_folder, write_zip
from tests.tasks.data.workplace import Workplace

Splits = dict[str, str]


class Judge:
    """Judges a source again and again, as a machine does on which it grows."""

    def __init__(self, home: Path) -> None:
        self.settings, self.spool = Settings(home=home / "home"), home / "spool"
        self.told: tuple[str, ...] = ()
        self.left_out: list[str] = []
        self.spool.mkdir()

    def splits(self, source: Path, options: DataOptions = DataOptions()) -> Splits:
        """Return the split of each image by its name, and keep what was told."""
        located = locate(str(source), self.settings, LineProgress, options)
        judged = judge_source(located, self.settings, self.spool, LineProgress)
        self.told = (*judged.findings.notes, *judged.findings.warnings)
        self.left_out = [item.name for item in judged.findings.left_out]
        return {image.name: image.split for image in judged.images}

    def record(self) -> SplitRecord:
        return SplitRecord(DataOptions(), self.settings)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(tmp_path)


def photos(count: int, *, first: int = 0, root: str = "") -> dict[str, bytes]:
    seeds = enumerate(("cat", "dog"))
    return {f"{root}{name}/{n}.jpg": jpeg(1000 * k + n) for k, name in seeds for n in range(first, count)}


def count(splits: Splits) -> list[int]:
    return [list(splits.values()).count(split) for split in ("train", "validation", "test")]


def test_folders_of_classes_are_split_and_the_splits_are_told(judge: Judge, tmp_path: Path) -> None:
    splits = judge.splits(write_folder(tmp_path / "birds", photos(20)))
    assert count(splits) == [32, 4, 4]
    assert judge.told == (
        "the data has no splits: kennel made 80/10/10 (seed 0): 32 train, 4 validation and 4 test photos",
    )


def test_a_photo_keeps_its_split_when_photos_are_added_and_a_twin_joins_the_oldest(
    judge: Judge, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "birds", photos(20))
    before = judge.splits(folder)
    tested = [name for name, split in before.items() if split == "test"]
    write_folder(folder, photos(60, first=20))
    for name in tested:
        seed = int(Path(name).stem) + 1000 * name.startswith("dog")
        (folder / f"{name}.again.jpg").write_bytes(encoded(picture(seed), quality=60))
    after = judge.splits(folder)
    assert {name: after[name] for name in before} == before
    assert [after[f"{name}.again.jpg"] for name in tested] == ["test"] * 4
    assert count(after) == [100, 12, 12] and len(judge.told) == 1


def test_the_shares_and_the_seed_are_those_that_are_asked_for(judge: Judge, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "birds", photos(20))
    thirds = judge.splits(folder, DataOptions(split="50/25/25"))
    assert count(thirds) == [20, 10, 10] and "made 50/25/25 (seed 0)" in judge.told[0]
    assert judge.splits(folder, DataOptions(split="50/25/25", split_seed=1)) != thirds


def test_a_test_that_is_missing_is_made_from_train(judge: Judge, tmp_path: Path) -> None:
    files = {**photos(18, root="train/"), **photos(22, first=18, root="val/")}
    splits = judge.splits(write_zip(tmp_path / "data.zip", files))
    assert count(splits) == [32, 8, 4]
    assert judge.told == ("the data has no test split: 4 of its 36 train photos are taken for test (seed 0)",)


def test_a_damaged_record_of_splits_is_refused_and_not_made_anew(judge: Judge, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "birds", photos(6))
    judge.splits(folder)
    path = judge.record().path
    path.write_bytes(path.read_bytes().replace(b"train", b"test", 1))
    with pytest.raises(LedgerRefused, match="does not hold the splits of photos"):
        judge.splits(folder)


def test_a_class_of_two_photos_cannot_be_split(judge: Judge, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "birds", {**photos(6), "owl/1.jpg": jpeg(1), "owl/2.jpg": jpeg(2)})
    with pytest.raises(
        DataRefused, match=r"no usable photo of the class owl in validation and test \(to be split, a class needs 3"
    ):
        judge.splits(folder)


def test_photos_in_two_splits_are_taken_out_of_train_and_listed(judge: Judge, tmp_path: Path) -> None:
    files = good_files(train=30)
    for n in range(8):
        files[f"photos/test/cat/copy_{n}.jpg"] = files[f"photos/train/cat/{n}.jpg"]
    source = write_zip(tmp_path / "data.zip", files)
    splits = judge.splits(source)
    assert judge.left_out == [f"photos/train/cat/{n}.jpg" for n in range(8)]
    assert not set(judge.left_out) & set(splits)
    assert judge.told[0].startswith("8 photos of train are also in validation or test (8 the same) and are taken out")
    kept = judge.splits(source, DataOptions(keep_duplicates=True))
    assert len(kept) == len(files) and judge.left_out == [] and "--keep-duplicates" in judge.told[0]


def test_a_photo_that_was_saved_again_is_taken_out_too(judge: Judge, tmp_path: Path) -> None:
    files = good_files(train=30)
    files["photos/test/cat/again.jpg"] = encoded(picture(5), quality=50)
    judge.splits(write_folder(tmp_path / "data", files))
    assert judge.left_out == ["photos/train/cat/5.jpg"]
    assert (
        "(1 nearly so) and is taken out of train: photos/train/cat/5.jpg = photos/test/cat/again.jpg" in judge.told[0]
    )


def test_all_files_of_refused_data_are_listed_in_a_file_and_a_few_in_the_message(judge: Judge, tmp_path: Path) -> None:
    files = {**good_files(), **{f"photos/train/cat/{n}.jpg": b"<html>" for n in range(10, 30)}}
    with pytest.raises(DataRefused) as refused:
        judge.splits(write_zip(tmp_path / "data.zip", files))
    path = Path(refused.value.why.rpartition(" listed in ")[2])
    rows = list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    assert refused.value.what.count(".jpg") == 3 and "and 17 more" in refused.value.what
    assert (rows[0], len(rows), rows[1][0]) == (["file", "reason"], 21, "photos/train/cat/10.jpg")


def labels_table(kind: str, labels: dict[str, str]) -> str:
    """Return a table of labels as Kaggle or Hugging Face has it."""
    if kind == "metadata.jsonl":
        return "\n".join(json.dumps({"file_name": f"{name}.jpg", "label": label}) for name, label in labels.items())
    heads = {"labels.csv": "id,breed", "metadata.csv": "file_name,label,width", "train_labels.csv": "label;image"}
    rows = {
        "labels.csv": [f"{name},{label}" for name, label in labels.items()],
        "metadata.csv": [f"{name}.jpg,{label},40" for name, label in labels.items()],
        "train_labels.csv": [f"{label};{name}.jpg" for name, label in labels.items()],
    }
    return "\n".join([heads[kind], *rows[kind]])


@pytest.mark.parametrize("split", ["80/10", "80/10/20", "100/0/0", "8O/10/10", "80/10/-10"])
def test_shares_that_are_no_whole_are_refused(split: str) -> None:
    with pytest.raises(ValidationError, match=r"it has to be|have to make 100"):
        DataOptions(split=split)


def test_the_list_of_what_is_left_out_has_all_names_and_goes_when_nothing_is(tmp_path: Path) -> None:
    path, names = tmp_path / "left_out.csv", ["a,b.jpg", 'c"d\n.jpg', "=1+1.jpg"]
    write_left_out(path, [Quarantined(name, "it is empty") for name in names])
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["file", *names[:2], "'=1+1.jpg"]
    write_left_out(path, [])
    assert not path.exists()


@pytest.mark.parametrize("kind", ["labels.csv", "metadata.csv", "train_labels.csv", "metadata.jsonl"])
def test_photos_in_a_flat_folder_have_the_classes_of_a_table(judge: Judge, tmp_path: Path, kind: str) -> None:
    files = {f"train/{n:02d}.jpg": jpeg(n) for n in range(12)}
    table = labels_table(kind, {f"{n:02d}": ("cat", "dog")[n % 2] for n in range(12)})
    others = {"test/00.jpg": jpeg(80), "test/01.jpg": jpeg(81)}
    where = "train/" if kind.startswith("metadata") else ""
    label = "breed" if kind == "labels.csv" else "label"
    splits = judge.splits(write_zip(tmp_path / "data.zip", {**files, **others, f"{where}{kind}": table.encode()}))
    assert (count(splits), set(splits)) == ([8, 2, 2], set(files))
    assert judge.told[0] == f"the classes of 12 photos are from {where}{kind}, column {label}"
    assert any(f"{kind} does not name the 2 photos of test/" in text for text in judge.told)


def test_a_table_may_say_the_splits(judge: Judge, tmp_path: Path) -> None:
    files = {f"images/{n}.jpg": jpeg(n) for n in range(12)}
    parts = {n: ("train", "val", "test")[n // 4] for n in range(12)}
    rows = "\n".join(f"images/{n}.jpg,{('cat', 'dog')[n % 2]},{parts[n]}" for n in range(12))
    splits = judge.splits(
        write_folder(tmp_path / "data", {**files, "labels.csv": f"path,class,split\n{rows}".encode()})
    )
    assert count(splits) == [4, 4, 4] and splits["images/5.jpg"] == "validation"


def test_the_same_data_with_other_names_is_the_same_dataset(judge: Judge, tmp_path: Path) -> None:
    files = good_files(root="", classes=("chat", "café"))
    forms = {
        "plain": files,
        "backslash": {name.replace("/", "\\"): data for name, data in files.items()},
        "dot": {f"./{name}": data for name, data in files.items()},
        "mac": {
            name if name.startswith("train") else name.replace("é", "e\u0301"): data for name, data in files.items()
        },
    }
    digests = set()
    for form, content in forms.items():
        located = locate(str(write_zip(tmp_path / f"{form}.zip", content)), judge.settings, LineProgress)
        digests.add(judge_source(located, judge.settings, judge.spool, LineProgress).digest)
    assert len(digests) == 1


def test_the_record_of_a_run_has_the_options_and_notes_and_they_are_part_of_what_is_known(
    place: Workplace, tmp_path: Path
) -> None:
    source = write_zip(tmp_path / "birds.zip", photos(12))
    options = DataOptions(split="60/20/20")
    dataset, _ = place.stage(source, options)
    manifest = json.loads(place.body(f"{dataset.prefix}/manifest.json"))
    assert chosen_data_options(dataset) == options
    assert [dataset.images(split) for split in dataset.counts] == [16, 4, 4]
    assert dataset.notes == tuple(manifest["notes"]) and "made 67/17/17 instead of 60/20/20" in dataset.notes[0]
    assert finding_lines(dataset)[0] == f"data: {dataset.notes[0]}"
    assert place.stage(source)[0].digest != dataset.digest
    place.calls.clear()
    assert (place.stage(source, options)[0], place.changes) == (dataset, 0)
    located = locate(str(source), place.settings, LineProgress, options)
    assert JudgementCache(located, place.settings).find() is not None
    other = dataclasses.replace(located, options=DataOptions(split="60/20/20", split_seed=4))
    assert JudgementCache(other, place.settings).find() is None


def test_data_with_all_that_one_should_be_told_of_is_accepted_and_tells_it(judge: Judge, tmp_path: Path) -> None:
    files = good_files(root="", classes=("Dog", "dog", ".net", "owl"), train=25)
    files = {name: data for name, data in files.items() if not name.startswith("train/owl/") or name.endswith("/0.jpg")}
    files["train/Dog/same.jpg"] = files["train/dog/3.jpg"]
    files |= {f"train/dog/broken{n}.jpg": files["train/dog/4.jpg"][:200] for n in range(3)}
    splits = judge.splits(write_folder(tmp_path / "data", files))
    assert len(splits) == len(files) - 3 and judge.left_out == [f"train/dog/broken{n}.jpg" for n in range(3)]
    assert [text.partition(":")[0] for text in judge.told] == [
        "classes Dog, dog look alike (case, Unicode form, blanks)",
        "1 photo is in two classes",
        "the classes are unbalanced",
    ]


def test_a_class_that_one_split_lacks_is_refused(judge: Judge, tmp_path: Path) -> None:
    files = good_files(root="", classes=("cat", "dog", "owl"))
    del files["test/owl/0.jpg"]
    with pytest.raises(DataRefused, match="no usable photo of the class owl in test"):
        judge.splits(write_folder(tmp_path / "data", files))


def test_a_source_that_is_renamed_keeps_its_splits(judge: Judge, tmp_path: Path) -> None:
    before = judge.splits(write_folder(tmp_path / "birds-v1", photos(20)))
    after = judge.splits(write_zip(tmp_path / "birds-v2.zip", photos(40)))
    assert len(after) == 2 * len(before) and all(after[name] == split for name, split in before.items())


def albums(*, more: int = 0) -> dict[str, bytes]:
    """Return two albums of six photos, and a folder that has all of them again, and more."""
    own = {f"{name}/{n}.jpg": jpeg(100 * k + n) for k, name in enumerate(("rose", "iris")) for n in range(6)}
    again = {f"all/{name.replace('/', '-')}": data for name, data in own.items()}
    return {**own, **again, **{f"all/more{n}.jpg": jpeg(900 + n) for n in range(more)}}


def test_a_folder_that_has_the_photos_of_the_classes_again_is_refused_by_its_name(judge: Judge, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="if all is no class, remove its folder; --keep-duplicates") as refused:
        judge.splits(write_folder(tmp_path / "flowers", albums(more=6)))
    assert "all (12 of 18), iris (6 of 6) and rose (6 of 6) are also in other classes" in refused.value.what
    assert (
        "12 photos are in two classes or more: 6 in all and iris (all/iris-0.jpg = iris/0.jpg), 6 in all and rose ("
        in (refused.value.what)
    )


def test_copies_in_several_classes_are_kept_with_a_warning_when_asked_for(judge: Judge, tmp_path: Path) -> None:
    splits = judge.splits(write_folder(tmp_path / "flowers", albums(more=6)), DataOptions(keep_duplicates=True))
    assert len(splits) == 30
    assert [text[:27] for text in judge.told if "classes" in text and "splits" not in text] == [
        "12 photos are in two classe",
        "at least half of the photos",
    ]


def test_a_class_below_an_index_is_staged_under_its_path(place: Workplace, tmp_path: Path) -> None:
    folders = ("a/abbey", "b/bazaar/indoor", "b/bazaar/outdoor")
    files = {f"{folder}/{n}.jpg": jpeg(100 * k + n) for k, folder in enumerate(folders) for n in range(6)}
    dataset, _ = place.stage(write_folder(tmp_path / "SUN", files))
    assert dataset.classes == ("abbey", "bazaar/indoor", "bazaar/outdoor")
    rows = place.rows(dataset)
    assert {row["class"] for row in rows} == set(dataset.classes) and len(place.members(dataset)) == 18
