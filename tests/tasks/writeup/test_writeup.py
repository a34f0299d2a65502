"""The writeup: figures only by citation, refused when a record changed, the same bytes for the same records."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.account.permission_use import ActionUse, PermissionUse
from tasks.audit.findings import Finding
from tasks.audit.report import AuditReport
from tasks.evidence.record import Described, Evidence, Screen
from tasks.report.parity import Parity, ParityRow
from tasks.report.summary import StageTimes
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.handle import RunFolder
from tasks.run.records import InstanceModel, TrainedModel
from tasks.run.sealed import seal, unseal
from tasks.run.trials import Search, Trial
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.observed_values import ObservedValue
from tasks.verdicts.verdicts import judge_prediction
from tasks.writeup import sources
from tasks.writeup.prose import paragraph, sentence
from tasks.writeup.sources import KINDS, Sources
from tasks.writeup.writeup import CITATIONS, check_writeup, compose, write_writeup
from tests.hostile import CORPUS
from tests.tasks.report import changes
from tests.tasks.report.test_report import DATA, LOAD, MODEL, RECORDS
from tests.tasks.scaling.deployments import plan as scaling_plan
from tests.test_hostile_text import filled

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

    assert (
        "A classifier of 2 classes was trained on 20 photos of the data set named dogs; its backbone is efficient"
        in text
    )
    assert "It names 92.68 % of 41 photos correctly" in text and "lies between 80.6 % and 97.5 %," in text
    assert "trained on 2 × ml.m5.xlarge, on demand. The type follows from the work (frozen)." in text
    assert "The job took 61.5 s; AWS would bill 60 s for each instance." in text
    assert "Compared with SageMaker's: the same model." in text
    assert "answer came after 12 ms: y with a score of 0.6100, which is wrong. All 2 classes and their scores: " in text
    assert "scores: y 0.6100, x 0.3900." in text
    assert "granted 2 actions. 1 of them were seen in use (localaws's record); 0 are needed on AWS only" in text
    assert "Found: s3:PutObject of r was granted and never used; nothing took it away yet." in text
    assert f"carries {PLAN.measured.max_rps_per_instance.value:g} requests/s (MAX_RPS)" in text
    assert f"Of {len(PLAN.choices)} predictions of the plan {len(PLAN.choices)} held, 0 failed" in text
    assert "(Locust's page: checked/function/loadtest/report.html)" in text
    assert "At list price, the training costs 0.0077 USD on SageMaker and 0.0077 USD on EC2." in text


def test_a_retraining_is_told_with_the_gates_numbers_which_are_cited_from_the_challengers_run(run: RunFolder) -> None:
    told = (changes.RETRAINING, changes.RELEASES, changes.PROMOTION, changes.AGREEMENT, changes.CANARY, changes.DRIFT)
    for record in told:
        run.keep(record)
    challenger = RunFolder(run.folder.with_name(changes.RETRAINING.challenger))
    challenger.keep(changes.DECISION)

    text, cited = text_of(run), compose([run]).citations

    assert "answered the same 252 photos, on which neither was trained. The new one has 87.14 % of them right" in text
    assert "is +0.0352 to +0.1081. The gate's verdict is: better." in text
    assert "with copies of 240 requests: on 38 of 41 photos it gave the same class as version 1" in text
    assert "was changed to version 2 of kennel-dogs (1 of 3 instances first): promoted. It has served 2 models" in text
    assert "got 10.00 % of the calls while alarms watched it, and answered 39 of 400 photos" in text
    assert "What has changed: photos." in text
    assert {each.run_id for each in cited if each.file == "gate.json"} == {challenger.id}
    assert "The model was not trained anew in this run." not in text


def test_how_the_code_differs_is_said_for_both_ways(run: RunFolder) -> None:
    kinds = ("entry point", "credentials", "end of the instances")
    rows = tuple(ParityRow(kind, f"{kind} of S", f"{kind} of E") for kind in kinds)
    run.keep(Parity("job-1", "ec2-1", 0.0, 0.0, 41, "the same model", (), rows))

    text = text_of(run)

    assert "On SageMaker: entry point of S; its credentials are those of the credentials of S; as for the" in text
    assert "On EC2: entry point of E;" in text and "instances, end of the instances of E." in text


def test_of_many_scores_the_highest_are_in_the_text_and_all_in_the_appendix(run: RunFolder) -> None:
    scores = {f"breed-{number}": (number + 1) / 8_911 for number in range(133)}
    run.keep(SmokeResult("0/0.jpg", "breed-132", "breed-132", 133 / 8_911, 133, 9.0, scores))

    made = compose([run])

    assert "The highest of 133 classes are breed-132 0.0149, breed-131" in text_of(run)
    assert "breed-0 0.0001." in made.appended[0].text
    run.keep(SmokeResult("0/0.jpg", "x", "x", 1.0, 2, 9.0, {"x": 1.0, "y": 1e-6}))
    assert "scores: x 1.0000, y < 0.0001." in text_of(run)
    (appended,) = made.appended
    assert appended.title.startswith("All scores") and appended.text.count("breed-") == 133


def test_what_was_found_is_told_with_what_was_mended(run: RunFolder) -> None:
    used = ActionUse("r", "s3:GetObject", "used", 3)
    run.keep(PermissionUse("localaws's record", (used,)))
    assert "Nothing had to be mended: no granted action was found unneeded, and no call was denied." in text_of(run)
    taken, denied = ActionUse("r", "s3:PutObject", "unused", 0), ActionUse("r", "s3:ListBucket", "denied", 0, 2)
    run.keep(PermissionUse("localaws's record", (used, denied), (taken,)))
    run.keep(filled(AuditReport, "text", keep={"findings": (filled(Finding, "a finding"),)}))

    text = text_of(run)

    assert "Found: s3:ListBucket of r was asked for and denied." in text
    assert "Found and mended: s3:PutObject of r was granted and never used, so it was taken away" in text
    assert "An audit of the whole account looked at 1 roles, users and groups and has 1 findings, each with" in text
    assert "the most severe: low: a finding, a finding." in text


def test_a_missing_record_makes_a_sentence_and_no_claim(run: RunFolder) -> None:
    for file in ("train_ec2.json", "scaling.json", "permissions.json", "smoke.json", "endpoint.json", "parity.json"):
        (run.folder / file).unlink()

    text = text_of(run)

    for said in ("did not train on EC2", "No scaling plan", "was not recorded", "deployed no function", "No load test"):
        assert said in text
    assert "Nothing is claimed about a speed-up" in text


@pytest.mark.parametrize(
    ("billable_seconds", "winner", "told"),
    [
        (0.0, 0, "In the same job 1 other sets of hyperparameters were tried, and none was better"),
        (0.0, 1, "In the same job 1 sets of hyperparameters were tried beside the defaults; set 1 was the best."),
        (90.0, 0, "In training jobs of their own 1 other sets of hyperparameters were tried, and none was better"),
        (90.0, 1, "In training jobs of their own 1 sets of hyperparameters were tried beside the defaults; set 1"),
    ],
)
def test_where_the_trials_of_a_search_ran_is_told(
    run: RunFolder, billable_seconds: float, winner: int, told: str
) -> None:
    kept = run.find(TrainedModel)
    assert kept is not None
    trials = tuple(dataclasses.replace(filled(Trial, "x"), number=number) for number in (0, 1))
    search = dataclasses.replace(filled(Search, "x"), trials=trials, winner=winner)
    run.keep(dataclasses.replace(kept, search=search, search_billable_seconds=billable_seconds))

    assert told in text_of(run)


def test_a_record_without_a_checksum_is_checked_by_its_types_and_bounds(run: RunFolder) -> None:
    for kind in KINDS.values():
        path = run.path(kind)
        if not path.exists():
            continue
        kept = path.read_bytes()
        content = unseal(kept)
        for name, value in content.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            for odd in ("x", [1], {"y": 1}):
                path.write_text(json.dumps({**content, name: odd}))
                with pytest.raises(StageFailed) as refused:
                    Sources(run).value(kind.file, name)
                assert refused.value.what == f"runs/{run.id}/{kind.file} cannot be cited"
                assert name in refused.value.why
        path.write_bytes(kept)


def test_every_file_that_is_cited_is_a_record_of_a_known_kind() -> None:
    folder = Path(sources.__file__).parent
    named = {name for file in folder.glob("*.py") for name in re.findall(r'"([a-z_0-9]+\.json)"', file.read_text())}
    assert named - {CITATIONS} == set(KINDS)


def test_a_full_temporary_folder_is_told_by_its_path(shown: RunFolder, tmp_path: Path) -> None:
    code = (
        "import sys, tempfile\nfrom pathlib import Path\nfrom tasks.run.errors import DiskFailed\n"
        "from tasks.run.handle import RunFolder\nfrom tasks.writeup.writeup import write_writeup\n"
        "tempfile.tempdir = sys.argv[1]\ntry:\n    write_writeup([RunFolder(Path(sys.argv[2]))])\n"
        "except DiskFailed as error:\n    print(error.what)\n    print(error.why)\n"
    )
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False, timeout=60).returncode:
        pytest.skip("no user namespaces here")
    (disk := tmp_path / "disk").mkdir()
    mounted = f'mount -t tmpfs -o size=4k none "$1" && exec "{sys.executable}" -P -c "$0" "$@"'
    command = ["unshare", "-rm", "sh", "-c", mounted, code, str(disk), str(shown.folder)]

    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert f"{disk}/kennel-writeup- cannot be written" in told.stdout and "No space left" in told.stdout, told
    assert "are needed" in told.stdout and "templates" not in told.stdout


def test_a_speed_up_is_claimed_only_between_runs_that_can_be_compared(run: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "runs" / "dogs-5e6f7a8b")
    for record in (DATA, dataclasses.replace(MODEL, instance_count=1, seconds=123.0)):
        other.keep(record)

    def told() -> str:
        return compose([run, other]).paragraphs[3].text

    assert told().startswith("With 1 instead of 2 the job took 123.0 s instead of 61.5 s, 2.00 times as long, cost")
    assert told().endswith(
        "cost 0.0077 USD instead of 0.0077 USD, and reached the same test accuracy (0.9268 and 0.9268)."
    )
    other.keep(dataclasses.replace(MODEL, instance_count=1, data_digest="other"))
    assert told().startswith("Nothing is claimed")


def test_the_same_records_give_the_same_bytes_and_a_pdf(run: RunFolder, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_writeup([run])]
    moved = RunFolder(run.folder.rename(tmp_path / run.id))

    assert [path.read_bytes() for path in write_writeup([moved])] == first
    assert first[0].startswith(b"%PDF-1.7") and b"pdfaid:part" in first[0] and b"pdfuaid:part" in first[0]
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
        run.keep(SmokeResult(text, text, text, 0.61, 2, 9.0, {text: 0.61, "x": 0.39}))
        one = dataclasses.replace(screen(run, "endpoint", (1_400, 900)), caption=text)
        run.keep(Evidence("d", "2026", (one,), (Described(text, text, text, {text: text}),), (text,)))
        pdf, page, _ = write_writeup([run])

        assert pdf.read_bytes().startswith(b"%PDF")
        assert re.search(r"<(script|img(?! src=\"data:)|b id|/script|!--)", page.read_text()) is None


def screen(run: RunFolder, name: str, size: tuple[int, int] | None) -> Screen:
    """Keep a screen's file, a picture of a size in pixels or else a page, and return its entry."""
    file = run.folder / "evidence" / f"{name}.{'png' if size else 'html'}"
    file.parent.mkdir(exist_ok=True)
    if size:
        Image.new("RGB", size, "white").save(file)
    else:
        file.write_text("<h1>page</h1>")
    content, (width, height) = file.read_bytes(), size or (0, 0)
    return Screen(
        name=name,
        caption=f"The {name}",
        page=f"{name}?x=1",
        file=f"evidence/{file.name}",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        width_px=width,
        height_px=height,
        is_cut=height > 4_000,
        taken="2026-11-29T16:18:24+00:00",
    )


@pytest.fixture
def shown(run: RunFolder) -> RunFolder:
    """The run with a screen of usual height, and one of a page that is very long."""
    screens = (screen(run, "endpoint", (1_400, 900)), screen(run, "bucket", (1_400, 4_200)))
    run.keep(Evidence("digest", "2026", screens, (Described("role", "r", "iam:GetRolePolicy", {"may": "x"}),)))
    return run


def pages_of(pdf: Path) -> int:
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf.read_bytes(), flags=re.DOTALL)
    objects = [zlib.decompressobj().decompress(each) for each in streams if each[:1] == b"\x78"]  # may end in "\r"
    return len(re.findall(rb"/Type ?/Page\b", b"\n".join([pdf.read_bytes(), *objects])))


def test_the_appendix_shows_the_screens_with_caption_and_alternative_text(shown: RunFolder) -> None:
    bare = RunFolder(shown.folder.parent / "bare")
    shutil.copytree(shown.folder, bare.folder)
    bare.forget(Evidence)

    pdf, page, _ = write_writeup([shown])

    told = page.read_text()
    assert told.count('<img src="data:image/png;base64,') == 2
    assert 'alt="Screen of the console: The endpoint, as of 2026-11-29 16:18:24 UTC"' in told
    assert (
        "Screen 2: The bucket" in told and "(the page goes on below)" in told and "evidence/bucket.png, sha256" in told
    )
    assert "What AWS answered" not in told, "its screens show more"
    first = pdf.read_bytes()
    assert write_writeup([shown])[0].read_bytes() == first
    assert pages_of(pdf) > 2 >= pages_of(write_writeup([bare])[0]) > 0
    assert check_writeup([shown]) and {"evidence/endpoint.png", "evidence/bucket.png"} <= {
        each["file"] for each in json.loads((shown.folder / "writeup" / "citations.json").read_text())["citations"]
    }


@pytest.mark.parametrize("change", ["edit", "remove", "link"])
def test_a_picture_that_was_changed_fails_the_check_by_its_name(shown: RunFolder, change: str) -> None:
    write_writeup([shown])
    file = shown.folder / "evidence" / "bucket.png"
    if change == "edit":
        file.write_bytes(file.read_bytes() + b"\0")
    else:
        moved = file.rename(file.with_name("moved.png"))
        if change == "link":
            file.symlink_to(moved)

    for make in (check_writeup, write_writeup):
        with pytest.raises(StageFailed) as refused:
            make([shown])
        assert refused.value.what == f"runs/{shown.id}/evidence/bucket.png cannot be cited"
        assert refused.value.next_command.startswith(f"kennel evidence {shown.id}")


def test_screens_that_were_taken_anew_need_a_new_writeup(shown: RunFolder) -> None:
    write_writeup([shown])
    screens = (screen(shown, "endpoint", (1_400, 901)), screen(shown, "bucket", (1_400, 4_200)))
    shown.keep(Evidence("digest", "2026", screens, ()))

    with pytest.raises(StageFailed, match=r"evidence\.json.* changed|evidence/endpoint\.png"):
        check_writeup([shown])


def test_a_file_outside_of_the_run_is_not_cited(shown: RunFolder, tmp_path: Path) -> None:
    outside = tmp_path / "runs" / "secret.png"
    Image.new("RGB", (10, 10)).save(outside)
    sha256 = hashlib.sha256(outside.read_bytes()).hexdigest()
    for name in ("../secret.png", str(outside)):
        one = dataclasses.replace(screen(shown, "endpoint", (1_400, 900)), file=name, sha256=sha256)
        shown.keep(Evidence("digest", "2026", (one,), ()))
        with pytest.raises(StageFailed, match="cannot be cited"):
            compose([shown])


def test_pages_that_were_kept_as_html_are_listed_with_the_reason(run: RunFolder) -> None:
    run.keep(Evidence("digest", "2026", (screen(run, "endpoint", None),), (), ("no Chromium was found",)))

    page = write_writeup([run])[1].read_text()

    assert "<img" not in page and "The endpoint, as of 2026-11-29 16:18:24 UTC: evidence/endpoint.html, sha256" in page
    assert "no Chromium was found" in page


def test_without_screens_the_answers_of_aws_are_the_appendix(run: RunFolder) -> None:
    told = (Described("endpoint", "e", "sagemaker:DescribeEndpoint", {"status": "InService", "instances": "1 of 1"}),)
    run.keep(Evidence("digest", "2026", (), told, ("this AWS has no console",)))

    page = write_writeup([run])[1].read_text()

    assert "What AWS answered about the endpoint" in page
    assert "e: status: InService; instances: 1 of 1" in page and "sagemaker:DescribeEndpoint" in page


def test_what_could_not_be_judged_is_told_with_the_reason(run: RunFolder) -> None:
    assert "predictions that follow from these numbers held." in text_of(run)
    kept = run.find(ScalingVerdicts)
    assert kept is not None
    open_ = tuple(dataclasses.replace(each, state="INCONCLUSIVE") for each in kept.verdicts)
    run.keep(dataclasses.replace(kept, verdicts=open_))
    run.keep(StageTimes({}, "a machine", "the machine was busy"))

    text = text_of(run)

    assert "predictions that follow from these numbers 0 held, 0 failed, and 3 could not be judged." in text
    assert "Why some could not: the machine was busy." in text and "numbers held." not in text


def test_a_plan_without_a_load_report_makes_no_claim_of_one(run: RunFolder) -> None:
    kept = run.find(ScalingVerdicts)
    assert kept is not None
    run.keep(dataclasses.replace(kept, reports={}, verdicts=()))

    assert "No load test judged a plan in this run." in text_of(run)


def test_a_trained_model_is_needed(run: RunFolder) -> None:
    run.forget(TrainedModel)
    with pytest.raises(StageFailed, match=r"train_sagemaker\.json, test_accuracy cannot be cited"):
        compose([run])
