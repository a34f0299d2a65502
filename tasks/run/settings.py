"""Define all settings of the flows, with bounds; they are read once and passed down.

Each field can be set by an environment variable `KENNEL_<FIELD>`; an empty one counts as unset. The settings also
decide, without a call, which AWS a run uses: the embedded one if `AWS_ENDPOINT_URL` is on loopback, the real one if an
account id is named. Everything else is refused.
"""

from __future__ import annotations

import difflib
import errno
import ipaddress
import os
import random
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.run import naming
from tasks.run.command_line import path_argument
from tasks.run.errors import SettingsRefused, TargetRefused
from tasks.run.escaping import terminal_text
from tasks.run.source_name import source_name
from tasks.run.text_form import TextForm

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def validate_cidr(value: str) -> str:
    """Return an IPv4 network in its usual notation ("203.0.113.7/32").

    Raises:
        ValueError: the value is not an IPv4 network, or it is wider than a /8, which is nearly the whole internet.
    """
    network = ipaddress.IPv4Network(value)
    if network.prefixlen < 8:
        raise ValueError(f"{network} would open SSH to the internet; the widest allowed network is a /8")
    return str(network)


def validate_url(value: str) -> str:
    """Return a URL that has no user info: it is shown in messages and stored with a run's records.

    Raises:
        ValueError: the URL has a user or a password, or one may be meant.
    """
    if any("@" in form for form in (value, unquote(value), unicodedata.normalize("NFKC", value))):
        raise ValueError("a URL here may have no user and no password, because it is shown and logged")
    return value


def validate_folder(value: Path) -> Path:
    """Return a folder whose name can be printed, and written as UTF-8, and that the system can look up.

    Raises:
        ValueError: the name has control characters or ends of lines, is not UTF-8 or too long, or is a link to itself.
    """
    if terminal_text(str(value)) != str(value) or {"\n", "\t"} & set(str(value)):
        raise ValueError("the name of this folder has to be UTF-8 without control characters")
    try:
        value.stat()
    except OSError as error:
        if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
            raise ValueError(f"this folder cannot be looked up: {os.strerror(error.errno)}") from error
    return value


AccountId = Annotated[str, TextForm(r"\d{12}", "the 12 digits of an account")]
Region = Annotated[str, TextForm(r"[a-z]{2,4}(-[a-z]+)+-\d", "the name of a region, such as us-east-1")]
Cidr = Annotated[str, AfterValidator(validate_cidr)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
KmsKey = Annotated[
    str,
    TextForm(
        r"(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key/|alias/)|alias/)[a-zA-Z0-9/_-]{1,250}",
        "the ARN of a key of KMS (arn:...:kms:<region>:<account>:key/<id>) or of its alias, or alias/<name>",
    ),
]
Bucket = Annotated[
    str,
    TextForm(
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens, no dot or hyphen at its ends",
    ),
]
ServingImage = Annotated[
    str,
    TextForm(
        r"\d{12}\.dkr\.ecr\.[a-z0-9.-]+/[a-z0-9][a-z0-9._/-]*(:\w[\w.-]{0,127}|@sha256:[0-9a-f]{64})",
        "an image of ECR with its tag or digest, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/serving:1",
    ),
]
ParameterName = Annotated[
    str,
    TextForm(
        r"/[A-Za-z0-9_./-]{1,1010}",
        "the name of a public parameter of SSM, which begins with a slash and has letters, digits and . _ / -",
    ),
]
Url = Annotated[str, AfterValidator(validate_url)]
WebUrl = Annotated[Url, TextForm(r"https?://.*", "a URL that begins with http:// or https://")]
Folder = Annotated[Path, AfterValidator(validate_folder)]

CALLER_ADDRESS_URL = "https://checkip.amazonaws.com"
LOCAL_CALLER_ADDRESS_PATH = "/_localaws/caller-address"
LOCAL_HOSTING_PATH = "/_localaws/capacity/hosting"
LOCAL_CONSOLE_PATH = "/_localaws/console/"
LOCAL_HEALTH_PATH = "/_localaws/health"
LOCAL_PERMISSIONS_PATH = "/_localaws/permissions"
LOCAL_PULSE_PATH = "/_localaws/pulse"
LOCAL_SPARES_PATHS = ("/_localaws/spares", "/_localaws/function-spares")

DEFAULT_HOME = Path(".kennel")
MOST_PROCESSES = 64
"""Of those that decode images at once."""
PREFIX = "KENNEL_"
_OPTIONS: dict[str, str] = {}
"""The options of this process's command that set a field, by the field."""

READ_ELSEWHERE = ("KENNEL_CRASH_AT", "KENNEL_GIT_COMMIT")
"""Environment variables with the prefix that are not settings; other modules read them."""


class Target(BaseModel):
    """The AWS that a run uses, and every difference that the code makes between the embedded and the real one.

    Code never compares `name`; it reads the field that names the difference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["local", "aws"]
    has_profile_credentials: bool
    """Whether calls use the credentials of the user's profile; the embedded AWS never receives them."""
    runs_on_this_machine: bool
    """Whether its instances share this machine's processors, which bound the total rate and influence every figure."""
    is_billed: bool
    """Whether what is made costs money: a command then shows its plan and asks, and prices are asked of AWS."""
    has_sample: bool
    """Whether the sample data and the demo's traffic are the defaults.

    On real AWS the default data is the reference dataset, and the user must state the traffic.
    """
    poll_bounds_seconds: tuple[float, float] | None
    """The shortest and the longest pause between two looks of a wait; None: each wait has a pause of its own."""
    metric_delay_seconds: float = Field(gt=0.0, le=900.0)
    """The longest time that CloudWatch may need until it has the last minute's sums."""
    metric_lag_seconds: float = Field(ge=0.0, le=900.0)
    """The seconds of AWS time after which a minute without a datapoint in CloudWatch was a minute without load."""
    log_delay_seconds: float = Field(ge=0.0, le=300.0)
    """The longest time that CloudWatch Logs may need until a line can be read."""
    tag_delay_seconds: float = Field(ge=0.0, le=300.0)
    """The longest time that the tags with which something was made may not be shown."""
    policy_propagation_seconds: float = Field(ge=0.0, le=120.0)
    """The time until a changed policy of a role counts everywhere."""
    installs_requirements: bool
    """Whether its inference image installs a model's requirements whenever an instance starts.

    The embedded AWS runs models in this project's own environment.
    """

    def pause_seconds(self, own: float) -> float:
        """Return how long a wait whose own pause is `own` sleeps until its next look.

        On real AWS it is drawn at random for each look, so that programs that began together do not ask together.
        """
        return own if self.poll_bounds_seconds is None else random.uniform(*self.poll_bounds_seconds)


EMBEDDED_AWS = Target(
    name="local",
    has_profile_credentials=False,
    runs_on_this_machine=True,
    is_billed=False,
    has_sample=True,
    poll_bounds_seconds=None,
    metric_delay_seconds=15.0,
    metric_lag_seconds=0.0,
    log_delay_seconds=0.0,
    tag_delay_seconds=0.0,
    policy_propagation_seconds=0.0,
    installs_requirements=False,
)
REAL_AWS = Target(
    name="aws",
    has_profile_credentials=True,
    runs_on_this_machine=False,
    is_billed=True,
    has_sample=False,
    poll_bounds_seconds=(5.0, 15.0),
    metric_delay_seconds=240.0,
    metric_lag_seconds=180.0,
    log_delay_seconds=30.0,
    tag_delay_seconds=60.0,
    policy_propagation_seconds=30.0,
    installs_requirements=True,
)


_LATE = ("metric_delay_seconds", "log_delay_seconds", "tag_delay_seconds", "policy_propagation_seconds")


def strict_aws(time_scale: float) -> Target:
    """Return an embedded AWS that is as late as the real one, by a clock that runs `time_scale` times as fast."""
    delays = {name: max(getattr(EMBEDDED_AWS, name), getattr(REAL_AWS, name) / time_scale) for name in _LATE}
    shortest, longest = REAL_AWS.poll_bounds_seconds or (0.0, 0.0)
    pauses = (max(0.1, shortest / time_scale), max(0.5, longest / time_scale))
    lag = {"metric_lag_seconds": REAL_AWS.metric_lag_seconds, "poll_bounds_seconds": pauses}
    return EMBEDDED_AWS.model_copy(update={**delays, **lag})


class Settings(BaseSettings):
    """The settings of the flows. They are immutable; `model_copy(update=…)` makes a changed copy.

    `time_scale` is the number of seconds that AWS's clock advances in one second, and `clock_origin` is the Unix time
    from which it does so (`tasks.run.clock`). On real AWS the scale is 1; the embedded AWS is started with both.
    `strict`: the embedded AWS is as late as the real one and throttles as it does.
    `permissions_token` is what the embedded AWS's record of permissions asks for, and `console_token` the secret part
    of its console's address. `weights_url` is where ImageNet weights are fetched instead of from their publisher: a
    folder, if it ends in a slash, or one file. `notify` has the addresses of notices (`tasks.run.notices`).
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    home: Folder = Field(default_factory=lambda: find_home(Path.cwd()))
    runs: Folder = Field(default_factory=lambda values: values["home"].parent / "runs")
    region: Region = Field(
        default="us-east-1",
        validation_alias=AliasChoices("KENNEL_REGION", "AWS_REGION", "AWS_DEFAULT_REGION", "region"),
    )
    account_id: AccountId | None = None
    endpoint_url: Url | None = Field(
        default=None, validation_alias=AliasChoices("AWS_ENDPOINT_URL", "KENNEL_ENDPOINT_URL", "endpoint_url")
    )
    bucket: Bucket | None = None
    time_scale: float = Field(default=1.0, ge=0.01, le=10_000.0)
    clock_origin: float = Field(default=0.0, ge=0.0)
    strict: bool = False
    permissions_token: SecretStr | None = None
    console_token: SecretStr | None = None

    connect_timeout_seconds: float = Field(default=5.0, ge=0.5, le=60.0)
    read_timeout_seconds: float = Field(default=60.0, ge=1.0, le=300.0)
    max_attempts: int = Field(default=4, ge=1, le=10)

    shortest_side_px: int = Field(default=256, ge=32, le=2048)
    jpeg_quality: int = Field(default=90, ge=50, le=100)
    shard_size_bytes: int = Field(default=32 * 2**20, ge=2**16, le=2**30)
    max_image_pixels: int = Field(default=64_000_000, ge=10_000, le=178_000_000)
    max_image_bytes: int = Field(default=20 * 2**20, ge=2**10, le=2**30)
    max_archive_files: int = Field(default=2_000_000, ge=1)
    max_archive_bytes: int = Field(default=200 * 2**30, ge=2**10)
    max_archive_ratio: float = Field(default=200.0, ge=1.0)
    max_quarantined_fraction: Fraction = 0.05
    imbalance_warning_ratio: float = Field(default=20.0, ge=1.0)
    staging_processes: int = Field(default_factory=lambda: min(16, os.cpu_count() or 1), ge=1, le=MOST_PROCESSES)
    upload_threads: int = Field(default=8, ge=1, le=64)
    download_timeout_seconds: float = Field(default=60.0, ge=1.0, le=600.0)
    download_attempts: int = Field(default=5, ge=1, le=20)
    weights_url: WebUrl | None = None
    notify: SecretStr | None = None

    kms_key: KmsKey | None = None
    serving_image: ServingImage | None = None
    ec2_image_parameter: ParameterName | None = None
    ec2_volume_gib: int = Field(default=75, ge=8, le=16_384)
    ec2_launch_seconds: float = Field(default=300.0, ge=5.0, le=1800.0)
    dead_man_minutes: int = Field(default=30, ge=10, le=240)  # in the last 5 minutes an instance accepts no login
    ssh_port: int = Field(default=22, ge=1, le=65_535)
    ssh_from: Cidr | None = None
    caller_address_url: WebUrl | None = None

    @classmethod
    def given(cls, options: Mapping[str, tuple[str, object]]) -> Self:
        """Read the settings with the values of a command's options: {field: (option, value)}; None is one not given.

        From then on, an error about such a field names the option in this process.

        Raises:
            SettingsRefused: as `load`.
        """
        values = {field: value for field, (_, value) in options.items() if value is not None}
        _OPTIONS.clear()
        _OPTIONS.update({field: options[field][0] for field in values})
        return cls.load(**values)

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the settings from the environment; `overrides` take precedence.

        Raises:
            SettingsRefused: a value is out of bounds, or a variable's name looks like a misspelt setting.
        """
        _refuse_misspelt(os.environ, known=set(cls.model_fields))
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            raise _refusal(cls, error.errors(include_context=False)[0]) from error

    def shown(self, field: str) -> str:
        """Return a field's value with the option or the variable that set it, for the message of an error."""
        return _shown(field, _variable(type(self), field), getattr(self, field))

    def target(self) -> Target:
        """Return the AWS that the settings name, without calling it.

        Raises:
            TargetRefused: the endpoint is not on loopback; or there is neither an endpoint nor an account id; or a
                setting of the embedded AWS is combined with a real account.
        """
        if self.endpoint_url is not None:
            if is_loopback(self.endpoint_url):
                return strict_aws(self.time_scale) if self.strict else EMBEDDED_AWS
            why = "an endpoint override must be on loopback, because credentials and data are sent to it"
            name = _variable(type(self), "endpoint_url")
            raise TargetRefused("target", f"{name}={source_name(self.endpoint_url)}", why, f"unset {name}")
        _refuse_service_overrides(os.environ)
        if self.account_id is None:
            why = "without an endpoint, calls go to real AWS, which kennel only calls for an account that you name"
            named = 'eval "$(kennel up)" for the embedded AWS, or export KENNEL_ACCOUNT_ID=<12 digits>'
            raise TargetRefused("target", "neither AWS_ENDPOINT_URL nor KENNEL_ACCOUNT_ID is set", why, named)
        if self.time_scale != 1.0:
            why = "real AWS has a time scale of 1; this shell still has the setting of an embedded AWS"
            what = f"KENNEL_TIME_SCALE={self.time_scale:g} with account {self.account_id}"
            raise TargetRefused("target", what, why, "unset KENNEL_TIME_SCALE KENNEL_CLOCK_ORIGIN KENNEL_STRICT")
        return REAL_AWS

    def caller_address_source(self) -> str:
        """Return the URL that answers with the caller's IP address, as the side that hosts the instance sees it."""
        if self.caller_address_url is not None:
            return self.caller_address_url
        if self.endpoint_url is not None:
            return self.endpoint_url.rstrip("/") + LOCAL_CALLER_ADDRESS_PATH
        return CALLER_ADDRESS_URL

    def run_dir(self, run_id: str) -> Path:
        """Return the directory that keeps a run's ledger and records."""
        return self.runs / run_id

    def bucket_for(self, account_id: str) -> str:
        """Return the name of the bucket for datasets, weights and models."""
        return self.bucket or naming.bucket_name(account_id, self.region)


def find_home(folder: Path) -> Path:
    """Return the home of a folder: its own, else the nearest one above it, as git finds its repositories.

    A home has to belong to this user, because what lies in it is trusted, and one above to be on the same file system.
    Without one it is `.kennel` in the folder itself.

    Raises:
        SettingsRefused: the folder's own home belongs to another user, or its name cannot be printed.
    """
    home = _nearest_home(folder)
    try:
        validate_folder(folder / home)
    except ValueError as error:
        remedy = "run it in a folder of another name, or export KENNEL_HOME=<a folder of another name>"
        raise SettingsRefused("settings", f"the home {folder / home}", str(error), remedy) from error
    return home


def _nearest_home(folder: Path) -> Path:
    own = folder / DEFAULT_HOME
    if own.is_dir():
        _require_own(own)
        return DEFAULT_HOME
    device = folder.stat().st_dev
    for above in folder.parents:
        home = above / DEFAULT_HOME
        if above.stat().st_dev != device:
            break
        if home.is_dir() and home.stat().st_uid == os.geteuid():
            return home
    return DEFAULT_HOME


def _require_own(home: Path) -> None:
    owner = home.stat().st_uid
    if owner != os.geteuid():
        why = f"it belongs to the user with the id {owner}, and what lies in it is trusted; you are {os.geteuid()}"
        take = f"sudo chown -R {os.geteuid()} {path_argument(home)}"
        remedy = f"export KENNEL_HOME=<a folder of yours>; or, if you trust it: {take}"
        raise SettingsRefused("settings", f"the home {home} is not used", why, remedy)


def is_loopback(url: str) -> bool:
    """Tell from a URL's text whether its host is this machine; no name is resolved."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_service_overrides(environment: Mapping[str, str]) -> None:
    found = sorted(name for name in environment if name.startswith("AWS_ENDPOINT_URL_") and environment[name])
    if found:
        why = "the variable would send one service's calls to another endpoint"
        raise TargetRefused(
            "target", f"{found[0]}={source_name(environment[found[0]])}", why, f"unset {' '.join(found)}"
        )


def _refusal(kind: type[Settings], first: ErrorDetails) -> SettingsRefused:
    """Return the error that names the variable which was set; a URL is named without what may be a secret in it."""
    location, why = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
    field = _field(kind, location)
    variable = _variable(kind, field)
    todo = f"set {variable} to an allowed value, or unset it"
    if field in _OPTIONS:
        todo = f"give {_OPTIONS[field]} an allowed value, or leave it out"
    return SettingsRefused("settings", _shown(field, variable, first["input"]), why, todo)


def _shown(field: str, variable: str, value: object) -> str:
    """Return what the user gave; a URL without what may be a secret in it."""
    text = repr(source_name(value) if isinstance(value, str) and "URL" in variable else value)
    return f"{_OPTIONS[field]} {text}" if field in _OPTIONS else f"{variable}={text}"


def _field(kind: type[Settings], location: str) -> str:
    """Return the field that pydantic names by one of its aliases."""
    found = (name for name, field in kind.model_fields.items() if location in _aliases(field))
    return next(found, location)


def _aliases(field: FieldInfo) -> list[object]:
    return list(field.validation_alias.choices) if isinstance(field.validation_alias, AliasChoices) else []


def _variable(kind: type[Settings], field: str) -> str:
    """Return the environment variable that sets a field: of several the one that is set, else the first."""
    names = [str(name) for name in _aliases(kind.model_fields[field])] if field in kind.model_fields else []
    names = names or [f"{PREFIX}{field.upper()}"]
    return next((name for name in names if os.environ.get(name)), names[0])


def _refuse_misspelt(environment: Mapping[str, str], known: set[str]) -> None:
    names = {PREFIX + field.upper() for field in known} | set(READ_ELSEWHERE)
    for name in environment:
        if not name.startswith(PREFIX) or name in names:
            continue
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.88)
        if close:
            raise SettingsRefused("settings", name, "there is no such setting", f"did you mean {close[0]}?")
