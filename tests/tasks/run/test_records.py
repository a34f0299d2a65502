"""Tests of the records: they are read back as written, and an invalid file is refused with the field's name."""

import dataclasses
import importlib
import json
import pkgutil
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

import tasks
from tasks.run.errors import LedgerRefused, SettingsRefused
from tasks.run.handle import RunFolder
from tasks.run.record_store import Record
from tasks.run.records import DatasetRef, EndpointRef, InstanceRef, LoadReport, WeightsRef
from tasks.run.sealed import seal, unseal
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


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_record_comes_back_as_it_was_kept(run: RunFolder, kind: type[Record]) -> None:
    record = example(kind)
    path = run.keep(record)
    number = {"number": record.number} if isinstance(record, InstanceRef) else {}
    assert (run.find(kind, **number), path.stat().st_mode & 0o777) == (record, 0o600)


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
    assert caught.value.why == why and caught.value.next_command.startswith(f"remove {run.path(WeightsRef)}")


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
    kind = next(kind for kind in KINDS if kind.file.format(number=1) == name)
    assert RunFolder(RELEASED).find(kind, **({"number": 1} if "{" in kind.file else {})) is not None


def test_every_kind_of_record_has_the_file_and_the_name_in_it_that_it_had() -> None:
    assert {kind.file: kind.stored_as for kind in KINDS} == RECORDS
