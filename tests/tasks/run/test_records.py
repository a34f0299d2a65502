"""Tests of the records: they are read back as written, and an invalid file is refused with the field's name."""

import dataclasses
import importlib
import json
import os
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

import tasks
from tasks.run.aws import Aws
from tasks.run.errors import LedgerRefused, SettingsRefused, StageFailed
from tasks.run.handle import Run, RunFolder
from tasks.run.record_store import Record, load_record, save_record
from tasks.run.records import DatasetRef, EndpointRef, LoadReport, TrainedModel, WeightsRef
from tasks.run.sealed import seal, unseal
from tasks.run.settings import Settings
from tasks.scaling.choice import ScalingPlan
from tasks.scaling.traffic import Measured
from tests.kennel.interface import RECORDS
from tests.tasks.scaling.deployments import measured, plan

ROOT = Path(__file__).parents[3]
for module in pkgutil.walk_packages(tasks.__path__, "tasks."):
    importlib.import_module(module.name)
KINDS = Record.__subclasses__()
WEIGHTS = WeightsRef("b", "weights/x", "x", "00", 5)


OWN_RULES: Mapping[type, Any] = {ScalingPlan: plan(), Measured: measured()}
"""Records that check their own values and so cannot be built from arbitrary ones."""


def example(hint: Any) -> Any:
    """Return a value of a type, in which every field has a value and every collection an element."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return arguments[0]
    if origin in {typing.Union, types.UnionType}:
        return example(arguments[0])
    if origin is tuple:
        return tuple(example(each) for each in arguments if each is not Ellipsis)
    if origin in {dict, Mapping}:
        return {example(arguments[0]): example(arguments[1])}
    if hint in OWN_RULES:
        return OWN_RULES[hint]
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        hints = typing.get_type_hints(hint)
        return hint(**{each.name: example(hints[each.name]) for each in dataclasses.fields(hint)})
    return {str: "é\n", int: 1, float: 0.5, bool: True}[hint]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "dogs-1")


def rewrite(run: RunFolder, **changes: Any) -> None:
    """Write a record of weights as `changes` make it; None removes a field."""
    path = run.keep(WEIGHTS)
    content = {**unseal(path.read_bytes()), **changes}
    path.write_bytes(seal({name: value for name, value in content.items() if value is not None}))


def fields_in(kind: type[Record]) -> list[str]:
    """Return the fields that the name of a kind's file contains."""
    return re.findall(r"\{(\w+)\}", kind.file)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_record_comes_back_as_it_was_kept(run: RunFolder, kind: type[Record]) -> None:
    record = example(kind)
    path = run.keep(record)
    named = {name: getattr(record, name) for name in fields_in(kind)}
    assert (run.find(kind, **named), path.stat().st_mode & 0o777) == (record, 0o600)


def test_no_two_kinds_of_record_share_a_file() -> None:
    assert len({kind.file for kind in KINDS}) == len(KINDS)


def test_every_kind_of_record_is_made_by_a_flow_that_is_deployed() -> None:
    deployed = {each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert {kind.made_by for kind in KINDS} <= deployed


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"size_bytes": "many"}, "size_bytes: Input should be a valid integer, not 'many'"),
        ({"size_bytes": "5"}, "size_bytes: Input should be a valid integer, not '5'"),
        ({"size_bytes": 5.5}, "size_bytes: Input should be a valid integer, not 5.5"),
        ({"sha256": None}, "sha256: Field required"),
        ({"colour": "red"}, "colour: Unexpected keyword argument, not 'red'"),
        ({"record": "EndpointRef"}, "it is not the record of a WeightsRef"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_by_field(
    run: RunFolder, changes: dict[str, Any], why: str
) -> None:
    rewrite(run, **changes)
    with pytest.raises(LedgerRefused, match=r"weights\.json does not hold a WeightsRef") as caught:
        run.find(WeightsRef)
    assert caught.value.why == why and caught.value.next_command.startswith(f"remove or move {run.path(WeightsRef)}")


@pytest.mark.parametrize("content", ["", "[]", '{"record": "WeightsRef"', "7"])
def test_a_file_that_is_no_record_at_all_is_refused(run: RunFolder, content: str) -> None:
    run.keep(WEIGHTS).write_text(content)
    with pytest.raises(LedgerRefused, match="does not hold a WeightsRef"):
        run.find(WeightsRef)


def test_a_wrong_type_is_named_with_its_place_in_the_record(run: RunFolder) -> None:
    path = run.keep(DatasetRef("b", "p", "d", "n", ("x",), {"test": {"x": 2}}, 5, 0, "sample"))
    path.write_bytes(seal(unseal(path.read_bytes()) | {"counts": {"test": {"x": True}}}))
    with pytest.raises(LedgerRefused) as caught:
        run.find(DatasetRef)
    assert caught.value.why == "counts.test.x: Input should be a valid integer, not True"


def test_a_record_of_an_older_release_has_the_defaults_of_what_it_did_not_know(run: RunFolder) -> None:
    path = run.keep(EndpointRef("e", "arn", "c", "m", "v", "ml.m5.large", 1, "s3://b/k", 2.5, created="2026-01-01"))
    content = unseal(path.read_bytes())
    del content["created"]
    path.write_text(json.dumps({**content, "seconds": 2}))  # without a checksum, as release 0.1.0 wrote it
    found = run.find(EndpointRef)
    assert found is not None and (found.created, found.seconds) == ("", 2.0)


def test_a_missing_record_is_named_with_the_flow_that_makes_it(run: RunFolder) -> None:
    with pytest.raises(SettingsRefused) as caught:
        run.need(EndpointRef)
    error = caught.value
    assert (error.where, error.what) == ("run dogs-1", "it has no endpoint")
    assert str(run.path(EndpointRef)) in error.why
    assert (
        error.next_command == "kennel run --run-id dogs-1, or prefect deployment run 'deploy/deploy' -p run_id=dogs-1"
    )


def test_a_record_that_was_forgotten_is_not_there_and_may_be_forgotten_again(run: RunFolder) -> None:
    run.keep(WEIGHTS)
    run.forget(WeightsRef, LoadReport)
    run.forget(WeightsRef)
    assert run.find(WeightsRef) is None


RELEASED = Path(__file__).with_name("release_0_1_0")
"""The folder of a run of release 0.1.0, as its own commands wrote the records."""


@pytest.mark.parametrize("path", sorted(RELEASED.rglob("*.json")), ids=lambda path: path.stem)
def test_a_record_of_release_0_1_0_is_read(path: Path) -> None:
    name = str(path.relative_to(RELEASED))
    first = {"number": 1, "trained_on": "sagemaker"}
    kind = next(kind for kind in KINDS if kind.file.format(**first) == name)
    assert RunFolder(RELEASED).find(kind, **{field: first[field] for field in fields_in(kind)}) is not None


def test_every_kind_of_record_has_the_file_and_the_name_in_it_that_it_had() -> None:
    assert {kind.file: kind.stored_as for kind in KINDS} == RECORDS


TRAINED = TrainedModel(
    job_name="j",
    job_arn="a",
    model_uri="s3://b/m",
    backbone="x",
    classes=("a", "b"),
    test_accuracy=0.9,
    test_images=4,
    metrics={},
    instance_type="ml.m5.large",
    instance_count=1,
    instance_reason="",
    spot=False,
    seconds=1.0,
    billable_seconds=1.0,
    cost_usd=None,
    data_digest="d",
)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("test_accuracy", 2.0, "less than or equal to 1, not 2.0"),
        ("test_accuracy", -0.1, "greater than or equal to 0, not -0.1"),
        ("test_accuracy", float("nan"), "a finite number, not nan"),
        ("test_accuracy", "0.9", "a valid number, not '0.9'"),
        ("test_images", -1, "greater than or equal to 0, not -1"),
        ("cost_usd", -1.0, "greater than or equal to 0, not -1.0"),
        ("seconds", float("inf"), "a finite number, not inf"),
    ],
)
def test_a_sealed_value_out_of_bounds_is_refused_with_file_field_value_and_what_is_allowed(
    run: RunFolder, field: str, value: object, allowed: str
) -> None:
    path = run.keep(TRAINED)
    path.write_bytes(seal(unseal(path.read_bytes()) | {field: value}))
    with pytest.raises(LedgerRefused) as caught:
        run.find(TrainedModel)
    assert str(path) in caught.value.what and caught.value.why == f"{field}: Input should be {allowed}"


@pytest.mark.parametrize(
    "metrics",
    [{"test_accuracy": 2.0}, {"test_accuracy": float("nan")}, {"test_images": -5.0}, {"train_seconds": float("inf")}],
)
def test_a_metric_out_of_its_bounds_is_refused_with_file_and_name(run: RunFolder, metrics: dict[str, float]) -> None:
    path = run.keep(TRAINED)
    path.write_bytes(seal(unseal(path.read_bytes()) | {"metrics": metrics}))
    with pytest.raises(LedgerRefused) as caught:
        run.find(TrainedModel)
    assert str(path) in caught.value.what and f"{next(iter(metrics))} has to be" in caught.value.why


def test_all_wrong_fields_of_a_record_are_named_at_once(run: RunFolder) -> None:
    path = run.keep(TRAINED)
    path.write_bytes(seal(unseal(path.read_bytes()) | {"test_accuracy": 2.0, "test_images": -1, "spot": "no"}))
    with pytest.raises(LedgerRefused) as caught:
        run.find(TrainedModel)
    assert all(f"{field}: Input should be" in caught.value.why for field in ("test_accuracy", "test_images", "spot"))


MUST_HAVE_BOUNDS = re.compile(
    r"(accuracy|share|score|images|count|size_bytes|quarantined|requests|failures|answered|unsent|seconds|rps|usd|cost)"
)
"""Names of fields whose values have bounds in every record; a difference may be negative."""


def test_every_rate_count_and_cost_of_a_record_has_bounds() -> None:
    unbounded = [
        f"{kind.__name__}.{name}"
        for kind in KINDS
        for name, hint in typing.get_type_hints(kind, include_extras=True).items()
        if {int, float} & {hint, *get_args(hint)} and get_origin(hint) is not typing.Annotated
        if MUST_HAVE_BOUNDS.search(name) and "difference" not in name
    ]
    assert unbounded == []


FIFO, FOLDER, DEEP = "a FIFO is in its place", "a folder is in its place", "its JSON is nested too deeply"


@pytest.mark.parametrize("why", [FIFO, FOLDER, DEEP])
def test_what_is_no_record_at_all_is_said_and_never_waited_for(run: RunFolder, why: str) -> None:
    path = run.keep(WEIGHTS)
    path.unlink()
    make: dict[str, Callable[[], object]] = {
        FIFO: lambda: os.mkfifo(path),
        FOLDER: path.mkdir,
        DEEP: lambda: path.write_text("[" * 200_000),
    }
    make[why]()
    with pytest.raises(LedgerRefused) as caught:
        run.find(WeightsRef)
    assert why in caught.value.why and caught.value.next_command.startswith(f"remove or move {path}")


def test_all_damaged_records_of_a_run_are_named_at_once(tmp_path: Path) -> None:
    run = Run(Aws(Settings(endpoint_url="http://127.0.0.1:1", runs=tmp_path)), "dogs-1")
    for record in (WEIGHTS, TRAINED):
        run.keep(record)
        run.path(type(record)).write_text("{")
    with pytest.raises(LedgerRefused) as caught:
        run.find(WeightsRef)
    for kind in (WeightsRef, TrainedModel):
        assert str(run.path(kind)) in str(caught.value) and str(run.path(kind)) in caught.value.next_command


def test_a_record_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"the record of the backbone weights was not kept.*\n.*-1") as caught:
        save_record(tmp_path, dataclasses.replace(WEIGHTS, size_bytes=-1))
    assert caught.value.next_command == "run the same command again"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_far_too_long_is_not_read(tmp_path: Path) -> None:
    """Other runs are shown meanwhile: the file is sparse, and would take minutes and all memory."""
    with (tmp_path / "stage_data.json").open("wb") as file:
        file.truncate(6 * 2**30)
    with pytest.raises(LedgerRefused, match="it has 6,442,450,944 bytes, and at most 268,435,456 are allowed"):
        load_record(tmp_path, DatasetRef)
