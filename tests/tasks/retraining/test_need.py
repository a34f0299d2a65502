"""A retraining has something to do when data, code or options are new, and says which."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.data.judgement_cache import Findings, Judgement, JudgementCache, LocatedSource
from tasks.data.staging import locate
from tasks.gate.gate import GateRecord
from tasks.registry.packages import ModelVersion
from tasks.registry.register import register_model
from tasks.retraining.conclude import conclude, refuse
from tasks.retraining.judging import begin_challenger
from tasks.retraining.need import Need, find_need, still_new
from tasks.retraining.record import Retraining
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.handle import Run, RunFolder
from tasks.run.options import TrainingOptions
from tasks.run.progress import LineProgress
from tasks.run.training_choice import TrainingChoice, chosen_training
from tests.counting_proxy import Calls
from tests.kennel.interface import differences
from tests.tasks.registry.trained_runs import DIGEST, account, trained_run

OPTIONS = TrainingOptions(epochs=2)
OTHER = TrainingOptions(epochs=3)
REFUSAL = GateRecord(
    champion="s3://b/champion",
    challenger="s3://b/challenger",
    evaluation_set="d",
    photos=40,
    verdict="worse",
    only_champion=11,
    only_challenger=1,
    champion_accuracy=0.75,
    challenger_accuracy=0.5,
    low=-0.4,
    high=-0.1,
    p_value=0.006,
    log_loss=0.2,
    power=0.2,
    photos_needed=900,
    rules=(),
    broken=(),
    asked="better",
    may_be_promoted=False,
    champion_ms=1.0,
    challenger_ms=1.0,
)


@pytest.fixture
def aws(calls: Calls, tmp_path: Path) -> Aws:
    return account(calls.url, tmp_path)


@pytest.fixture
def source(tmp_path: Path, aws: Aws) -> LocatedSource:
    """A folder that was judged to give the dataset on which the run's model was trained."""
    photo = tmp_path / "photos" / "train" / "a" / "0.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"photo")
    found = LocatedSource(str(tmp_path / "photos"), "photos", tmp_path / "photos")
    judge(aws, found, DIGEST)
    return found


def judge(aws: Aws, source: LocatedSource, digest: str) -> None:
    JudgementCache(source, aws.settings).store(Judgement(digest, Findings()))


@pytest.fixture
def service(aws: Aws) -> Run:
    """A run whose model is registered and was trained with `OPTIONS` by the present code."""
    run = trained_run(aws, f"need-{secrets.token_hex(4)}", f"need {secrets.token_hex(4)}")
    run.keep(TrainingChoice.of(OPTIONS))
    register_model(run)
    return run


def look(service: Run, source: LocatedSource, training: TrainingOptions = OPTIONS, **more: object) -> Need:
    asked = {"when": "changed", "at_least_hours": 0.0, **more}
    return find_need(service, source, training, **asked)  # type: ignore[arg-type]


def touch(source: LocatedSource) -> None:
    """Write the photo again with the same content, and at another time."""
    (source.path / "train" / "a" / "0.jpg").unlink()
    (source.path / "train" / "a" / "0.jpg").write_bytes(b"photo")


def trained_at(need: Need, at: datetime, data: str = "e" * 64) -> Retraining:
    return Retraining(at.isoformat(timespec="seconds"), "refused", "why", "c", data, need.code, need.training)


def test_nothing_is_to_do_when_data_code_and_options_are_the_champions(
    service: Run, source: LocatedSource, calls: Calls
) -> None:
    calls.seen.clear()
    found = look(service, source)
    assert (found.reasons, found.why_not) == ((), "data, code and options are those of earlier models")
    assert found.data_digest == DIGEST and calls.mutating() == []


def test_new_data_is_a_reason_until_a_model_was_trained_on_it(aws: Aws, service: Run, source: LocatedSource) -> None:
    judge(aws, source, "e" * 64)
    found = look(service, source)
    assert found.reasons == (f"the data at {source.label} is new",)
    conclude(service, found, "e" * 64, "refused", "why")
    assert look(service, source).reasons == ()


def test_a_look_at_a_prefix_in_a_bucket_lists_it_and_reads_no_photo(aws: Aws, service: Run, calls: Calls) -> None:
    s3, bucket = aws.client("s3"), f"photos-{secrets.token_hex(8)}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="dogs/train/a/0.jpg", Body=b"photo")
    uri = f"s3://{bucket}/dogs/"
    judge(aws, locate(uri, aws.settings, LineProgress), DIGEST)
    calls.seen.clear()
    assert look(service, locate(uri, aws.settings, LineProgress)).reasons == ()
    s3.put_object(Bucket=bucket, Key="dogs/train/a/1.jpg", Body=b"photo")
    assert look(service, locate(uri, aws.settings, LineProgress)).reasons == (f"the data at {uri} is new",)
    looks = [call.partition("?")[0] for call in calls.seen if bucket in call and call.startswith(("GET", "HEAD"))]
    assert looks == [f"GET /{bucket}", f"GET /{bucket}"]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": f"dogs/train/a/{n}.jpg"} for n in range(2)]})
    s3.delete_bucket(Bucket=bucket)


def test_new_code_is_a_reason(service: Run, source: LocatedSource) -> None:
    version = register_model(service)
    service.aws.client("sagemaker").update_model_package(
        ModelPackageArn=version.arn, CustomerMetadataProperties={"kennel:code": "0" * 64}
    )
    assert look(service, source).reasons == ("the training code is new",)


def test_new_options_are_a_reason_until_a_model_was_trained_with_them(service: Run, source: LocatedSource) -> None:
    found = look(service, source, OTHER)
    assert found.reasons == ("the training options are new",)
    conclude(service, found, DIGEST, "kept", "why")
    assert look(service, source, OTHER).reasons == () == look(service, source).reasons


def test_always_is_a_reason_of_its_own(service: Run, source: LocatedSource) -> None:
    found = look(service, source, when="always")
    assert found.reasons == ("it was asked for always",)
    assert still_new(service, found, DIGEST)


def test_what_asked_for_it_is_told_with_the_reasons_and_is_none_by_itself(
    aws: Aws, service: Run, source: LocatedSource
) -> None:
    def drifted() -> Need:
        return look(service, source, because="drift: the photos changed")

    assert drifted().reasons == () and "label photos like the new ones" in drifted().why_not
    judge(aws, source, "e" * 64)
    assert drifted().reasons == ("drift: the photos changed", f"the data at {source.label} is new")


@pytest.mark.parametrize(("hours", "is_held"), [(23, True), (25, False), (-5, False)])
def test_a_training_waits_for_its_hours_and_a_clock_that_was_set_back_holds_none_up(
    service: Run, source: LocatedSource, hours: int, is_held: bool
) -> None:
    now = datetime.now(UTC)
    service.keep(trained_at(look(service, source), now - timedelta(hours=hours)))
    found = look(service, source, OTHER, at_least_hours=24.0)
    assert (found.reasons == ()) is is_held
    assert ("less than 24 hours ago" in found.why_not) is is_held


def test_the_challenger_has_the_same_id_for_the_same_data_code_and_options(service: Run, source: LocatedSource) -> None:
    first, again, other = look(service, source), look(service, source), look(service, source, OTHER)
    assert first.challenger == again.challenger != other.challenger
    assert first.challenger.startswith("photos-") and naming.RUN_ID.fits(first.challenger)


def test_touched_files_with_the_same_content_end_after_the_staging(service: Run, source: LocatedSource) -> None:
    touch(source)
    found = look(service, source)
    assert found.reasons == (f"the data at {source.label} is new",) and found.data_digest == ""
    assert not still_new(service, found, DIGEST)
    assert still_new(service, found, "e" * 64)
    assert still_new(service, look(service, source, OTHER), DIGEST), "the options are new whatever the data is"


def test_a_run_whose_version_was_deleted_has_everything_new(service: Run, source: LocatedSource) -> None:
    service.aws.client("sagemaker").delete_model_package(ModelPackageName=register_model(service).arn)
    assert len(look(service, source).reasons) == 2


def test_options_are_kept_as_what_differs_from_the_defaults(service: Run) -> None:
    assert service.need(TrainingChoice).options == '{"epochs":2}'
    assert chosen_training(service) == OPTIONS


def test_a_challenger_that_the_gate_refused_is_rejected_with_its_numbers(aws: Aws, service: Run) -> None:
    begin_challenger(service, f"{service.id}-c")
    challenger = trained_run(aws, f"{service.id}-c", "another")
    version = register_model(challenger)
    refuse(challenger, REFUSAL)
    told = aws.client("sagemaker").describe_model_package(ModelPackageName=version.arn)
    assert version.group == service.need(ModelVersion).group
    assert (told["ModelApprovalStatus"], told["ApprovalDescription"]) == ("Rejected", REFUSAL.text)
    assert REFUSAL.text.startswith("worse: 0.5000 against 0.7500 on 40 photos, -0.2500")


def test_what_a_retraining_came_to_has_the_members_that_scripts_rely_on(service: Run, source: LocatedSource) -> None:
    made = conclude(service, look(service, source), DIGEST, "promoted", "better")
    assert differences("retrain", {"run_id": service.id, **json.loads(json.dumps(vars(made)))}) == []
    assert RunFolder(service.folder).find(Retraining) == made
