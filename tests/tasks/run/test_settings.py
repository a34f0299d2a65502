"""Tests of the settings: they decide without a call which AWS is used, and an unclear choice is refused."""

import os
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from localaws.strictness import STRICT
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import AccessDenied, AwsFailed, LimitReached, NotFound, SettingsRefused, TargetRefused, translate
from tasks.run.settings import EMBEDDED_AWS, REAL_AWS, Settings
from tests.conftest import RunningLocalAws
from tests.hostile import harmful_in


@pytest.fixture(autouse=True)
def no_aws_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "KENNEL_ACCOUNT_ID", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4577", "http://localhost:1", "http://[::1]:5"])
def test_a_loopback_endpoint_is_local(url: str) -> None:
    assert Settings(endpoint_url=url).target() == EMBEDDED_AWS


@pytest.mark.parametrize(
    "url", ["https://s3.amazonaws.com", "http://10.0.0.1", "http://127.0.0.1.evil.com", "http://0.0.0.0:1"]
)
def test_any_other_endpoint_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused, match="an endpoint override must be on loopback"):
        Settings(endpoint_url=url, account_id="1" * 12).target()


@pytest.mark.strict
@pytest.mark.parametrize("scale", [1.0, 22.5, 90.0])
def test_a_strict_aws_is_waited_for_as_the_real_one_by_its_own_clock(scale: float) -> None:
    target = Settings(endpoint_url="http://127.0.0.1:4577", strict=True, time_scale=scale).target()

    assert target.metric_lag_seconds == REAL_AWS.metric_lag_seconds >= STRICT.metrics.most
    assert target.log_delay_seconds * scale >= STRICT.logs.most
    assert target.metric_delay_seconds * scale >= max(STRICT.metrics.most, STRICT.final_metrics.most)
    assert target.tag_delay_seconds * scale >= STRICT.tags.most
    assert target.policy_propagation_seconds * scale >= STRICT.identities.most
    assert min(target.pause_seconds(0.01) for _ in range(100)) >= min(5.0, 0.1 * scale) / scale
    assert target.runs_on_this_machine and target.name == "local"


def test_real_aws_needs_a_named_account() -> None:
    with pytest.raises(TargetRefused, match="neither AWS_ENDPOINT_URL nor KENNEL_ACCOUNT_ID is set"):
        Settings().target()
    assert Settings(account_id="1" * 12).target() == REAL_AWS


def test_the_clock_of_an_embedded_aws_is_not_taken_to_the_real_one() -> None:
    with pytest.raises(TargetRefused, match="KENNEL_TIME_SCALE=60 with account 111111111111"):
        Settings(account_id="1" * 12, time_scale=60.0, clock_origin=1.0).target()


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "KENNEL_ENDPOINT_URL"])
def test_an_endpoint_elsewhere_is_refused_by_the_variable_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv(name, "http://elsewhere:4577")
    with pytest.raises(TargetRefused, match=f"target: {name}=http://elsewhere:4577") as refused:
        Settings.load().target()
    assert refused.value.next_command == f"unset {name}"


def test_the_override_of_one_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere")
    with pytest.raises(TargetRefused, match="AWS_ENDPOINT_URL_S3=http://elsewhere"):
        Settings(account_id="1" * 12).target()


def test_an_account_other_than_the_named_one_is_refused_before_any_other_call(localaws: RunningLocalAws) -> None:
    aws = Aws(Settings(endpoint_url=localaws.url, account_id="999999999999"))
    with pytest.raises(TargetRefused, match="the credentials in use belong to account 123456789012"):
        aws.client("s3")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_an_embedded_aws_without_a_key_is_refused_with_the_commands_that_print_one(
    localaws: RunningLocalAws, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(TargetRefused, match="are not set") as refused:
        Aws(Settings(endpoint_url=localaws.url)).client("s3")
    assert 'eval "$(kennel up)"' in refused.value.next_command and localaws.url in refused.value.why


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_the_key_of_another_server_is_refused_with_the_commands_that_print_the_right_one(
    localaws: RunningLocalAws, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "AKIAOFANOTHERSERVER1")
    with pytest.raises(TargetRefused, match="AWS_ACCESS_KEY_ID is not a key of this server") as refused:
        Aws(Settings(endpoint_url=localaws.url)).client("s3")
    assert 'eval "$(kennel up)"' in refused.value.next_command and localaws.url in refused.value.why


def test_a_misspelt_variable_is_refused_with_the_name_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KENNEL_ACOUNT_ID", "1")
    with pytest.raises(SettingsRefused, match=r"did you mean KENNEL_ACCOUNT_ID\?"):
        Settings.load()


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unset = Settings.load()
    for name in Settings.model_fields:
        monkeypatch.setenv(f"KENNEL_{name.upper()}", "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    assert Settings.load() == unset
    assert Settings.load().home == Path(".kennel")


def test_a_value_out_of_bounds_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KENNEL_UPLOAD_THREADS", "0")
    with pytest.raises(SettingsRefused, match="KENNEL_UPLOAD_THREADS='0'"):
        Settings.load()


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION", "KENNEL_REGION"])
def test_the_variable_that_was_set_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ("AWS_REGION", "AWS_DEFAULT_REGION", "KENNEL_REGION"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "nowhere")
    with pytest.raises(SettingsRefused, match=f"settings: {name}='nowhere'") as refused:
        Settings.load()
    assert refused.value.next_command.startswith(f"set {name} ")


@pytest.mark.parametrize(
    ("field", "option", "value"),
    [("kms_key", "--kms-key", "nonsense"), ("account_id", "--account", "12"), ("region", "--region", "x")],
)
def test_what_an_option_gave_is_named_by_the_option_and_what_a_variable_gave_by_the_variable(
    monkeypatch: pytest.MonkeyPatch, field: str, option: str, value: str
) -> None:
    variable = f"KENNEL_{field.upper()}"
    with pytest.raises(SettingsRefused, match=f"settings: {option} '{value}'") as refused:
        Settings.given({field: (option, value)})
    assert refused.value.next_command == f"give {option} an allowed value, or leave it out"
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsRefused, match=f"settings: {variable}='{value}'"):
        Settings.given({field: (option, None)})


def test_a_value_that_is_allowed_is_shown_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.given({"kms_key": ("--kms-key", "alias/a")}).shown("kms_key") == "--kms-key 'alias/a'"
    monkeypatch.setenv("KENNEL_KMS_KEY", "alias/b")
    assert Settings.given({"kms_key": ("--kms-key", None)}).shown("kms_key") == "KENNEL_KMS_KEY='alias/b'"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "KENNEL_ENDPOINT_URL", "KENNEL_CALLER_ADDRESS_URL"])
@pytest.mark.parametrize(
    "url",
    ["http://me:s3cret@127.0.0.1:4577", "http://me:s3c/ret@h", "http://127.0.0.1%3As3cret%40h", "http:me:s3cret@h"],
)
def test_a_url_with_a_user_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsRefused, match=f"{name}=") as refused:
        Settings.load()
    shown = f"{refused.value}{refused.value.__cause__}"
    assert "s3c" not in shown and "me:" not in shown


def test_the_override_of_one_service_is_named_without_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://me:s3cret@elsewhere")
    with pytest.raises(TargetRefused, match="AWS_ENDPOINT_URL_S3=http://elsewhere"):
        Settings(account_id="1" * 12).target()


def test_a_home_in_a_folder_whose_name_cannot_be_printed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a\nb").mkdir()
    monkeypatch.chdir(tmp_path / "a\nb")
    monkeypatch.delenv("KENNEL_HOME", raising=False)
    with pytest.raises(SettingsRefused, match="the home") as refused:
        Settings.load()
    assert "export KENNEL_HOME=" in refused.value.next_command
    monkeypatch.setenv("KENNEL_HOME", str(tmp_path / "home"))
    assert Settings.load().home == tmp_path / "home"


@pytest.mark.parametrize("name", ["KENNEL_HOME", "KENNEL_RUNS"])
@pytest.mark.parametrize("folder", ["/tmp/\x1b[2J", "/tmp/a\nb", "/tmp/\u202ea", "/tmp/\udcff"])
def test_a_folder_whose_name_cannot_be_printed_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    monkeypatch.setenv(name, folder)
    with pytest.raises(SettingsRefused, match=f"{name}=.*") as refused:
        Settings.load()
    assert "UTF-8 without control characters" in refused.value.why and harmful_in(str(refused.value)) == set()


@pytest.mark.parametrize("name", ["KENNEL_HOME", "KENNEL_RUNS"])
def test_a_folder_that_cannot_be_looked_up_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for folder, why in ((tmp_path / ("a" * 300), "File name too long"), (tmp_path / "loop" / "x", "symbolic links")):
        monkeypatch.setenv(name, str(folder))
        with pytest.raises(SettingsRefused, match=f"{name}=.*") as refused:
            Settings.load()
        assert why in refused.value.why


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("NoSuchBucket", "", NotFound),
        ("ValidationException", "Could not find endpoint x", NotFound),
        ("AccessDenied", "no", AccessDenied),
        ("ThrottlingException", "slow", LimitReached),
    ],
)
def test_errors_of_aws_become_ours_with_the_code_and_the_reason(code: str, message: str, kind: type) -> None:
    made = translate(ClientError({"Error": {"Code": code, "Message": message}}, "DoIt"), "here", "kennel status")
    assert isinstance(made, AwsFailed)
    assert (type(made), made.code, made.what) == (kind, code, f"DoIt answered {code}")


def test_the_same_command_has_the_same_run_id_and_another_choice_another() -> None:
    one = naming.run_id_for("data/My Photos.zip", backbone="resnet50", spot=None)
    assert one == naming.run_id_for("data/My Photos.zip", backbone="resnet50")
    assert one != naming.run_id_for("data/My Photos.zip", backbone="resnet50", spot=True)
    assert one.startswith("my-photos-")
    assert len(one) <= 24


def test_long_names_are_cut_and_stay_different() -> None:
    names = {naming.resource_name("run", "x" * 80 + end) for end in "ab"}
    assert [len(name) <= 63 for name in names] == [True, True]


def test_a_home_is_the_folders_own_or_the_nearest_one_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "project" / "notebooks" / "old"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert (Settings().home, Settings().runs) == (Path(".kennel"), Path("runs"))
    above = tmp_path / "project" / ".kennel"
    above.mkdir()
    assert (Settings().home, Settings().runs) == (above, tmp_path / "project" / "runs")
    (deep / ".kennel").mkdir()
    assert (Settings().home, Settings().runs) == (Path(".kennel"), Path("runs"))
    monkeypatch.setenv("KENNEL_HOME", str(tmp_path / "named"))
    assert (Settings().home, Settings().runs) == (tmp_path / "named", tmp_path / "runs")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_home_above_that_belongs_to_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".kennel").mkdir()
    os.chown(tmp_path / ".kennel", 12345, 12345)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert Settings().home == Path(".kennel")


def test_an_unknown_profile_is_named_with_the_files_that_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile work]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "wrok")
    with pytest.raises(TargetRefused, match="AWS_PROFILE=wrok") as refused:
        _ = Aws(Settings(account_id="1" * 12)).account_id
    files = f"{tmp_path / 'config'} and {tmp_path / 'credentials'}"
    assert refused.value.why == f"there is no such profile in {files}; known: work"


def test_a_home_of_another_user_is_refused_in_the_current_folder_and_passed_over_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KENNEL_HOME", "KENNEL_RUNS"):
        monkeypatch.delenv(name, raising=False)
    below = tmp_path / "project"
    below.mkdir()
    (tmp_path / ".kennel").mkdir()
    monkeypatch.chdir(below)
    assert Settings().home == tmp_path / ".kennel"
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert Settings().home == Path(".kennel")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsRefused, match=f"you are {other}"):
        Settings.load()
