"""The writeup: figures only by citation, refused when a record changed, the same bytes for the same records."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.account.permission_use import ActionUse, PermissionUse
from tasks.report.parity import Parity, ParityRow
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.handle import RunFolder
from tasks.run.records import InstanceModel, TrainedModel
from tasks.run.sealed import seal, unseal
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.observed_values import ObservedValue
from tasks.verdicts.verdicts import judge_prediction
from tasks.writeup.prose import paragraph, sentence
from tasks.writeup.sources import Sources
from tasks.writeup.writeup import check_writeup, compose, write_writeup
from tests.hostile import CORPUS
from tests.tasks.report.test_report import DATA, LOAD, MODEL, RECORDS
from tests.tasks.scaling.deployments import plan as scaling_plan

PLAN = scaling_plan()
EC2_MODEL = InstanceModel(
    **{
        each.name: getattr(MODEL, each.name)
        for each in dataclasses.fields(MODEL)
        if each.name
        in (
            *("model_uri", "backbone", "classes", "test_accuracy", "test_images", "metrics", "instance_type"),
            *("instance_count", "instance_reason", "spot", "cost_usd", "data_digest", "git_commit"),
        )
    },
    name="ec2-1",
    spec_digest="d",
    model_sha256="0",
    instance_ids=("i-1",),
    refused=(),
    interruptions=0,
    seconds={"training": 30.0},
    wall_seconds=58.0,
    billable_seconds=60.0,
    prices="list",
    command=("python",),
    archive="/x/model.tar.gz",
    log_files=(),
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with every record that a paragraph cites."""
    made = RunFolder(tmp_path / "runs" / "dogs-1a2b3c4d")
    verdicts = tuple(
        judge_prediction(choice, choice.predicted, ObservedValue(choice.predicted.value, "told", samples=500))
        for choice in PLAN.choices
    )
    page = str(made.folder / "checked" / "function" / "loadtest" / "report.html")
    load = dataclasses.replace(LOAD, p95_ms=128.8, files={"html": page})
    told = (ActionUse("r", "s3:GetObject", "used", 3), ActionUse("r", "s3:PutObject", "unused", 0))
    records = (
        *RECORDS,
        EC2_MODEL,
        Parity("job-1", "ec2-1", 0.0, 0.0, 41, "the same model", (), (ParityRow("entry point", "sm", "ssh"),)),
        ScalingVerdicts(PLAN, "function", verdicts, {}, 50.0, {}, "a machine", {"function": load}),
        PermissionUse("localaws's record", told),
    )
    for record in records:
        made.keep(record)
    return made


def rewrite(run: RunFolder, file: str, **changes: Any) -> None:
    """Change a record as kennel itself would write it, checksum and all."""
    path = run.folder / file
    path.write_bytes(seal({**unseal(path.read_bytes()), **changes}))


def text_of(run: RunFolder) -> str:
    return "\n".join(each.text for each in compose([run]).paragraphs)


def test_each_question_is_answered_from_the_records(run: RunFolder) -> None:
    text = text_of(run)

    assert "A classifier of 2 classes was trained on the photos of dogs (backbone efficientnet_lite0)" in text
    assert "is right about 0.9268 of 41 photos" in text and "lies in 0.806 to 0.975." in text
    assert "trained on 2 × ml.m5.xlarge, on demand: frozen. The job took 61.5 s, of which AWS would bill 60 s" in text
    assert "Compared with SageMaker's: the same model." in text
    assert "of the class x, it answered y with a score of 0.6100, which is wrong" in text
    assert "granted 2 actions, of which 1 were seen in use and 1 were not needed" in text
    assert f"Of {len(PLAN.choices)} predictions of the plan {len(PLAN.choices)} held, 0 failed" in text
    assert "(Locust's own page: checked/function/loadtest/report.html)" in text


def test_a_missing_record_makes_a_sentence_and_no_claim(run: RunFolder) -> None:
    for file in ("train_ec2.json", "scaling.json", "permissions.json", "smoke.json", "endpoint.json", "parity.json"):
        (run.folder / file).unlink()

    text = text_of(run)

    for said in ("did not train on EC2", "No scaling plan", "was not recorded", "deployed no function", "No load test"):
        assert said in text
    assert "Nothing is claimed about a speed-up" in text


def test_a_speed_up_is_claimed_only_between_runs_that_can_be_compared(run: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "runs" / "dogs-5e6f7a8b")
    for record in (DATA, dataclasses.replace(MODEL, instance_count=1, seconds=123.0)):
        other.keep(record)

    def told() -> str:
        return compose([run, other]).paragraphs[3].text

    assert told().startswith("With 1 instead of 2 the job took 123.0 s instead of 61.5 s, 2.00 times as long, with the")
    other.keep(dataclasses.replace(MODEL, instance_count=1, data_digest="other"))
    assert told().startswith("Nothing is claimed")


def test_the_same_records_give_the_same_bytes_and_a_pdf(run: RunFolder, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_writeup([run])]
    moved = RunFolder(run.folder.rename(tmp_path / run.id))

    assert [path.read_bytes() for path in write_writeup([moved])] == first
    assert first[0].startswith(b"%PDF-1.7") and b"pdfaid:part" in first[0]
    assert check_writeup([moved]) == len(json.loads(first[2])["citations"]) > 50


def citations(run: RunFolder) -> list[tuple[str, str]]:
    return [(each.file, each.key) for each in compose([run]).citations]


def test_any_cited_figure_that_changes_fails_the_check_by_its_name(run: RunFolder) -> None:
    write_writeup([run])
    changed = 0
    for file, key in citations(run):
        kept = (run.folder / file).read_bytes()
        if re.fullmatch(r"[a-z0-9_]+", key) is None or key in ("model_uri", "spot"):
            continue
        value = unseal(kept)[key]
        rewrite(
            run,
            file,
            **{key: value + (value[:1] or ["x"] if isinstance(value, list) else 1)}
            if not isinstance(value, str)
            else {key: f"{value} or so"},
        )
        with pytest.raises(StageFailed, match=rf"runs/{run.id}/{re.escape(file)}"):
            check_writeup([run])
        (run.folder / file).write_bytes(kept)
        changed += 1
    assert changed >= 20 and check_writeup([run])


def test_a_file_that_changed_elsewhere_fails_too_and_one_that_was_edited_is_refused(run: RunFolder) -> None:
    write_writeup([run])
    rewrite(run, "stage_data.json", quarantined=4)
    with pytest.raises(StageFailed, match=r"stage_data\.json.* changed"):
        check_writeup([run])

    path = run.folder / "smoke.json"
    path.write_text(path.read_text().replace("0.61", "0.99"))
    with pytest.raises(StageFailed, match=r"smoke\.json cannot be cited"):
        compose([run])


def test_without_a_writeup_or_a_run_there_is_nothing_to_check(run: RunFolder) -> None:
    with pytest.raises(StageFailed, match=r"there is no .*citations\.json"):
        check_writeup([run])
    for make in (compose, check_writeup, write_writeup):
        with pytest.raises(SettingsRefused, match="no run"):
            make([])


@pytest.mark.parametrize(
    ("file", "key", "unit", "why"),
    [
        ("train_sagemaker.json", "seconds", "ms", "its unit is s, and ms was asked for"),
        ("train_sagemaker.json", "hours", "s", "there is no 'hours'"),
        ("train_sagemaker.json", "backbone", "", "it is str, and a number was asked for"),
        ("nothing.json", "seconds", "s", "there is no nothing.json"),
        ("scaling.json", "plan.choices[name=other].value", "", "no entry of 'choices' has name=other"),
        (
            "scaling.json",
            "plan.choices[name=min_instances].value",
            "USD",
            "its unit is instances, and USD was asked for",
        ),
        ("stage_data.json", "size_bytes", "", "the unit of a key that ends in 'bytes' is not known"),
        ("stage_data.json", "..", "", "is no path in a record"),
    ],
)
def test_a_figure_needs_its_key_and_its_unit(run: RunFolder, file: str, key: str, unit: str, why: str) -> None:
    with pytest.raises(StageFailed) as refused:
        Sources(run).number(file, key, ".1f", unit)
    assert refused.value.what == f"runs/{run.id}/{file}, {key} cannot be cited" and why in refused.value.why


@pytest.mark.parametrize("prose", ["It took 12 s.", "the 3rd one", "half of a2b", "in 2026"])
def test_a_numeral_in_the_prose_is_refused(prose: str) -> None:
    with pytest.raises(StageFailed, match="the prose has a numeral of its own"):
        sentence(prose)
    with pytest.raises(StageFailed, match=r"\{x\} is not cited"):
        sentence("It took {x}.")
    assert paragraph("t", sentence("On EC2 the p95 is from S3.")).text == "On EC2 the p95 is from S3."


def test_names_of_others_stay_text_in_pdf_and_html(run: RunFolder) -> None:
    hostile = ("#panic()", "$ sum $", '#import "@preview/x:1.0.0"', "*b* _i_ `r` <l> @c = h", *CORPUS[:35])
    for text in hostile:
        run.keep(dataclasses.replace(DATA, name=text))
        run.keep(dataclasses.replace(MODEL, instance_reason=text, backbone=text))
        pdf, page, _ = write_writeup([run])

        assert pdf.read_bytes().startswith(b"%PDF")
        assert re.search(r"<(script|img|b id|/script|!--)", page.read_text()) is None


def test_a_plan_without_a_load_report_makes_no_claim_of_one(run: RunFolder) -> None:
    kept = run.find(ScalingVerdicts)
    assert kept is not None
    run.keep(dataclasses.replace(kept, reports={}, verdicts=()))

    assert "No load test judged a plan in this run." in text_of(run)


def test_a_trained_model_is_needed(run: RunFolder) -> None:
    run.forget(TrainedModel)
    with pytest.raises(StageFailed, match=r"train_sagemaker\.json, test_accuracy cannot be cited"):
        compose([run])
