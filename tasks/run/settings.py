"""Every setting of the flows, in one place: bounded, with units in the names, read once and passed down.

Each field can be set by an environment variable `KENNEL_<FIELD>`. Which AWS is meant is decided here, without a call:
a loopback `AWS_ENDPOINT_URL` is the embedded one, a named account id is the real one, anything else is refused.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.run import naming
from tasks.run.errors import SettingsRefused, TargetRefused


def narrow_cidr(value: str) -> str:
    """Return an IPv4 network in its usual spelling ("203.0.113.7/32").

    Raises:
        ValueError: it is none, or so wide (under /8) that it means the whole internet.
    """
    network = ipaddress.IPv4Network(value)
    if network.prefixlen < 8:
        raise ValueError(f"{network} would open SSH to the internet; /8 is the widest that is taken")
    return str(network)


AccountId = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Cidr = Annotated[str, AfterValidator(narrow_cidr)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

DEEP_LEARNING_IMAGE = (
    "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.7-ubuntu-22.04/latest/ami-id"
)
CALLER_ADDRESS_URL = "https://checkip.amazonaws.com"
LOCAL_CALLER_ADDRESS_PATH = "/_localaws/caller-address"
LOCAL_HOSTING_PATH = "/_localaws/capacity/hosting"
LOCAL_HEALTH_PATH = "/_localaws/health"
LOCAL_PULSE_PATH = "/_localaws/pulse"
LOCAL_SPARES_PATHS = ("/_localaws/spares", "/_localaws/function-spares")

PREFIX = "KENNEL_"
ELSEWHERE = ("KENNEL_CRASH_AT", "KENNEL_GIT_COMMIT")
"""Variables with the prefix that are read by others than this class."""


class Target(BaseModel):
    """Which AWS is meant, and all in which the code treats the embedded one and the real one differently.

    Nothing asks for the name: whoever needs a difference reads the field that is called after it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["local", "aws"]
    start_command: str
    """What brings an AWS that does not answer."""
    has_profile_credentials: bool
    """Calls carry what the user's profile has; the embedded AWS never gets that."""
    runs_on_this_machine: bool
    """Its instances share our processors, so that figures depend on them, and together they reach a ceiling."""
    has_sample: bool
    """Without a word of the user's, the demo's data and traffic are taken; on real AWS nothing is assumed."""
    allowed_hosts: tuple[str, ...]
    """`host:port` that a function may fetch from although they are not public, where the user names none."""
    instance_poll_seconds: float = Field(gt=0.0, le=60.0)
    """How often the number of an endpoint's instances is asked for while one is awaited and its start is timed."""
    metric_poll_seconds: float = Field(gt=0.0, le=60.0)
    """How often CloudWatch is asked for sums that are not there yet."""
    metric_delay_seconds: float = Field(gt=0.0, le=900.0)
    """How late CloudWatch may have the last minute's sums."""


EMBEDDED_AWS = Target(
    name="local",
    start_command="eval $(python -m localaws start)",
    has_profile_credentials=False,
    runs_on_this_machine=True,
    has_sample=True,
    allowed_hosts=("127.0.0.1:*", "localhost:*"),
    instance_poll_seconds=0.05,
    metric_poll_seconds=0.2,
    metric_delay_seconds=15.0,
)
REAL_AWS = Target(
    name="aws",
    start_command="aws sts get-caller-identity",
    has_profile_credentials=True,
    runs_on_this_machine=False,
    has_sample=False,
    allowed_hosts=(),
    instance_poll_seconds=2.0,
    metric_poll_seconds=5.0,
    metric_delay_seconds=240.0,
)


class Settings(BaseSettings):
    """What the flows may do, where, and within which bounds. Immutable; make a variant with `model_copy(update=…)`.

    `time_scale` is how many seconds AWS's own clocks move on in a second, `clock_origin` the Unix time from which on
    they do (`tasks.run.clock`): 1 on real AWS, what it was started with on the embedded one.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", populate_by_name=True)

    home: Path = Path(".kennel")
    runs: Path = Path("runs")
    region: Region = Field(
        default="us-east-1",
        validation_alias=AliasChoices("KENNEL_REGION", "AWS_REGION", "AWS_DEFAULT_REGION", "region"),
    )
    account_id: AccountId | None = None
    endpoint_url: str | None = Field(
        default=None, validation_alias=AliasChoices("AWS_ENDPOINT_URL", "KENNEL_ENDPOINT_URL", "endpoint_url")
    )
    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    time_scale: float = Field(default=1.0, ge=0.01, le=10_000.0)
    clock_origin: float = Field(default=0.0, ge=0.0)

    connect_timeout_seconds: float = Field(default=5.0, ge=0.5, le=60.0)
    read_timeout_seconds: float = Field(default=60.0, ge=1.0, le=300.0)
    max_attempts: int = Field(default=4, ge=1, le=10)

    shortest_side_px: int = Field(default=256, ge=32, le=2048)
    jpeg_quality: int = Field(default=90, ge=50, le=100)
    shard_size_bytes: int = Field(default=32 * 2**20, ge=2**16, le=2**30)
    max_image_pixels: int = Field(default=64_000_000, ge=10_000, le=178_000_000)
    max_image_bytes: int = Field(default=64 * 2**20, ge=2**10, le=2**30)
    max_archive_files: int = Field(default=2_000_000, ge=1)
    max_archive_bytes: int = Field(default=200 * 2**30, ge=2**10)
    max_archive_ratio: float = Field(default=200.0, ge=1.0)
    max_quarantined_fraction: Fraction = 0.05
    imbalance_warning_ratio: float = Field(default=20.0, ge=1.0)
    staging_processes: int = Field(default_factory=lambda: min(16, os.cpu_count() or 1), ge=1, le=64)
    upload_threads: int = Field(default=8, ge=1, le=64)
    download_timeout_seconds: float = Field(default=60.0, ge=1.0, le=600.0)
    download_attempts: int = Field(default=5, ge=1, le=20)

    ec2_image_parameter: str = Field(default=DEEP_LEARNING_IMAGE, pattern=r"^/[A-Za-z0-9_./-]{1,1010}$")
    ec2_volume_gib: int = Field(default=75, ge=8, le=16_384)
    ec2_launch_seconds: float = Field(default=300.0, ge=5.0, le=1800.0)
    dead_man_minutes: int = Field(default=30, ge=10, le=240)  # in the last 5 nobody is let in, nor can we reconnect
    ssh_port: int = Field(default=22, ge=1, le=65_535)
    ssh_from: Cidr | None = None
    caller_address_url: str | None = Field(default=None, pattern=r"^https?://")

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment; `overrides` win over it.

        Raises:
            SettingsRefused: a value is out of bounds, or a variable looks like a misspelt one.
        """
        _refuse_misspelt(os.environ, known=set(cls.model_fields))
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            what = f"{field}={first['input']!r}"
            raise SettingsRefused("settings", what, first["msg"], f"set {PREFIX}{field.upper()} to fit") from error

    def target(self) -> Target:
        """Say which AWS is meant, without calling any.

        Raises:
            TargetRefused: the endpoint is not on loopback, or there is neither an endpoint nor an account id.
        """
        if self.endpoint_url is not None:
            if is_loopback(self.endpoint_url):
                return EMBEDDED_AWS
            why = "an endpoint override must be on loopback: credentials and data would go there"
            raise TargetRefused("target", f"AWS_ENDPOINT_URL={self.endpoint_url}", why, "unset AWS_ENDPOINT_URL")
        _refuse_service_overrides(os.environ)
        if self.account_id is None:
            why = "without an endpoint this would be real AWS, which is only called for an account that you name"
            named = "eval $(python -m localaws start) for the embedded AWS, or export KENNEL_ACCOUNT_ID=<12 digits>"
            raise TargetRefused("target", "neither AWS_ENDPOINT_URL nor KENNEL_ACCOUNT_ID is set", why, named)
        if self.time_scale != 1.0:
            why = "AWS's clock runs as ours: it is the setting of an embedded one that this shell used"
            what = f"KENNEL_TIME_SCALE={self.time_scale:g} with account {self.account_id}"
            raise TargetRefused("target", what, why, "unset KENNEL_TIME_SCALE KENNEL_CLOCK_ORIGIN")
        return REAL_AWS

    def caller_address_source(self) -> str:
        """Return the URL that answers with the address that we call from: asked where the instance will be."""
        if self.caller_address_url is not None:
            return self.caller_address_url
        if self.endpoint_url is not None:
            return self.endpoint_url.rstrip("/") + LOCAL_CALLER_ADDRESS_PATH
        return CALLER_ADDRESS_URL

    def run_dir(self, run_id: str) -> Path:
        """Return the directory that keeps a run's ledger and records."""
        return self.runs / run_id

    def bucket_for(self, account_id: str) -> str:
        """Return the bucket that datasets, weights and models live in."""
        return self.bucket or naming.bucket_name(account_id, self.region)


def is_loopback(url: str) -> bool:
    """Tell whether a URL's host is this machine, by its text alone (no name is resolved)."""
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
        why = "a service's own endpoint would send part of the run elsewhere"
        raise TargetRefused("target", f"{found[0]}={environment[found[0]]}", why, f"unset {' '.join(found)}")


def _refuse_misspelt(environment: Mapping[str, str], known: set[str]) -> None:
    names = {PREFIX + field.upper() for field in known} | set(ELSEWHERE)
    for name in environment:
        if not name.startswith(PREFIX) or name in names:
            continue
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.88)
        if close:
            raise SettingsRefused("settings", name, "no such setting", f"did you mean {close[0]}?")
