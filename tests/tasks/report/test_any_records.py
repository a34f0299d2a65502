"""A report is made from whatever is there: hostile numbers, missing and damaged records, no matplotlib, no fonts."""

import dataclasses
import json
import math
import subprocess
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.report.markdown import summary_markdown
from tasks.report.rows import summary_json, summary_rows
from tasks.report.summary import StageTimes, accuracy_text, summarise
from tasks.run.errors import LedgerRefused, StageFailed
from tasks.run.handle import RunFolder
from tasks.run.record_store import Record, record_path
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, InstanceModel, LoadReport, TrainedModel
from tasks.run.sealed import seal, strict_json, unseal
from tasks.sagemaker.download import DownloadedTraining
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.observed_values import ObservedValue
from tasks.verdicts.verdicts import judge_prediction
from tests.conftest import ROOT
from tests.tasks.report.test_report import LOAD, RECORDS
from tests.tasks.scaling.deployments import plan as scaling_plan

STAGES = (DatasetRef, TrainedModel, EndpointRef, FunctionRef, SmokeResult, StageTimes)
OTHERS = (InstanceModel, LoadReport, DownloadedTraining)
FLOATS = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 2.0, 1e308])
INTEGERS = st.sampled_from([0, -1, 1, 2**70])
TEXTS = st.sampled_from(["", "x", "NaN", "a\nb|c", "\x1b[2J"])


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy of hostile values that a record's reader accepts for a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of([values_of(each) for each in arguments])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin in {dict, Mapping}:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=2)
    if dataclasses.is_dataclass(hint):
        return hostile(hint)
    return {str: TEXTS, int: INTEGERS, float: FLOATS, bool: st.booleans(), type(None): st.none()}[hint]


def hostile(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{each.name: values_of(hints[each.name]) for each in dataclasses.fields(kind)})


def no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not JSON")


def make_everything(run: RunFolder) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return the report, the table and the JSON of a run, as three commands would make them."""
    summary = summarise(run)
    printed = strict_json(summary_json(summary))
    answer: dict[str, Any] = json.loads(printed, parse_constant=no_constant)
    return summary_markdown(summary), summary_rows(summary), answer


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.tuples(*(hostile(kind) for kind in (*STAGES, *OTHERS))))
def test_hostile_values_are_kept_as_json_or_refused_by_field_and_make_a_report(
    tmp_path: Path, records: tuple[Record, ...]
) -> None:
    run, refused = RunFolder(tmp_path / "run"), 0
    for record in records:
        path = record_path(run.folder, type(record), **vars(record))
        path.unlink(missing_ok=True)
        try:
            run.keep(record)
        except StageFailed as error:
            assert ": Input should be " in error.why and not path.exists()
            path.write_bytes(seal({"record": record.stored_as, **dataclasses.asdict(record)}))  # as 0.1.0 kept it
            with pytest.raises(LedgerRefused, match=": Input should be ") as unreadable:
                run.find(type(record))
            assert str(path) in unreadable.value.what
            refused += type(record) is not DownloadedTraining  # no report shows it
        else:
            assert repr(run.find(type(record))) == repr(record)  # NaN is not equal to itself
        json.loads(path.read_text(), parse_constant=no_constant)
    text, rows, answer = make_everything(run)
    assert text.startswith("# Run run\n") and rows["run"] == "run" and len(answer["notes"]) == refused


@pytest.mark.parametrize("kind", STAGES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("damage", ["missing", "cut", "edited"])
def test_a_record_that_is_missing_or_damaged_has_a_note_in_its_place(
    tmp_path: Path, kind: type[Record], damage: str
) -> None:
    run = RunFolder(tmp_path / "run")
    for record in RECORDS:
        run.keep(record)
    path = record_path(run.folder, kind)
    content = path.read_bytes()
    path.write_bytes(content[:-9] if damage == "cut" else content.replace(b'": "', b'": "x', 2))
    if damage == "missing":
        path.unlink()
    text, rows, answer = make_everything(run)
    (note,) = answer["notes"]
    assert path.name in note and f"- {note}" in text and rows["note 1"] == note
    assert "There is no load test" in text


def test_a_run_without_any_record_has_a_report_of_notes(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    text, rows, answer = make_everything(RunFolder(tmp_path / "run"))
    assert len(answer["notes"]) == len(STAGES) and text.count("- there is no ") == len(STAGES)
    assert rows["model"] == "there is no record of it" and answer["test_accuracy"] is None


@pytest.mark.parametrize(("accuracy", "images"), [(2.0, 41), (math.nan, 41), (-0.1, 41), (0.5, 0), (math.inf, -1)])
def test_what_is_no_accuracy_is_called_that(accuracy: float, images: int) -> None:
    assert f"{accuracy} on {images} images, which is no accuracy" in accuracy_text(accuracy, images)


def test_a_number_that_json_lacks_comes_back_as_it_was() -> None:
    content = {"a": math.inf, "b": [math.nan, -math.inf], "classes": ["NaN", "float"]}
    assert repr(unseal(seal(content))) == repr(content)
    assert strict_json(content) == '{"a": null, "b": [null, null], "classes": ["NaN", "float"]}'


def test_hostile_figures_of_a_load_test_and_a_plan_make_a_report(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    plan = scaling_plan()
    choice, predicted = plan.predictions["throttled_at_spike"]
    verdict = judge_prediction(choice, predicted, ObservedValue(math.nan, "counted", 0))
    load = dataclasses.replace(LOAD, p50_ms=1e308, achieved_rps=0.0, lag_p99_ms=math.nan, requests=0)
    run.keep(ScalingVerdicts(plan, "function", (verdict,), {}, 0.0, {}, "a machine", {"function": load}))
    text, rows, answer = make_everything(run)
    assert "p50 1" in text and "0.0/s" in rows["load, function"]
    assert answer["scaling"]["loads"]["function"]["requests"] == 0


PROGRAM = """
import sys, types
from pathlib import Path
sys.modules["tests"] = types.ModuleType("tests")  # an installed package of this name would be found first
sys.modules["tests"].__path__ = ["tests"]
FAULT
from tasks.load.profile import profile_for
from tasks.run.handle import RunFolder
from tasks.verdicts.check import ScalingVerdicts, save_with_pictures
from tests.tasks.scaling.deployments import plan as scaling_plan
from tests.tasks.verdicts.simulated_profile import seen_by_simulation
import dataclasses
run = RunFolder(Path(sys.argv[1]))
plan = scaling_plan(measures={"time_scale": 60.0})
seen = dataclasses.replace(seen_by_simulation(plan, profile_for(plan)), files={"json": str(run.folder / "load.json")})
result = ScalingVerdicts(plan, "function", (), {}, 50.0, hardware="a machine")
save_with_pictures(run, result, {"function": seen})
"""
FAULTS = {
    "no matplotlib": "sys.modules['matplotlib'] = None",
    "no fonts": """
def refuse(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".ttf", ".afm")):
        raise FileNotFoundError(arguments[0])
sys.addaudithook(refuse)""",
    "figures that cannot be drawn": """
import tests.tasks.verdicts.simulated_profile as simulated
original = simulated.seen_by_simulation
def hostile(*arguments):
    from dataclasses import replace
    seen = original(*arguments)
    return replace(seen, stages=tuple(replace(each, begin=float("nan"), end=float("inf")) for each in seen.stages))
simulated.seen_by_simulation = hostile""",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_picture_that_cannot_be_drawn_is_a_note_and_the_verdicts_stay(tmp_path: Path, fault: str) -> None:
    run = RunFolder(tmp_path / "run")
    run.folder.mkdir()
    command = [sys.executable, "-c", PROGRAM.replace("FAULT", FAULTS[fault]), str(run.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    kept = run.find(ScalingVerdicts)
    assert kept is not None and dict(kept.pictures) == {}
    (note,) = kept.notes
    assert note.startswith("there is no picture, function: ")
    assert note in summary_markdown(summarise(run))
