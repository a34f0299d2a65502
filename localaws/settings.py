"""The settings of a server: where it keeps its files and how it behaves. Reads and writes nothing."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localaws.capacity import InstanceCapacity
from localaws.errors import NotLoopback
from localaws.strictness import LENIENT, Strictness

DEFAULT_PORT = 4577
DEFAULT_REGION = "us-east-1"
SSH_SERVERS = ("auto", "openssh", "embedded")
IAM_MODES = ("enforce", "record", "off")
ACCOUNTS = ("old", "new")


@dataclass(frozen=True)
class Settings:
    """One server's configuration.

    `home` holds everything that localaws keeps; `port` 0 means any free one (`home/server.json` then has the real one);
    `region` is the one in which things execute. `time_scale` is how many times faster than AWS the emulated clock runs
    (1.0 = real time). `ssh_server` is what EC2 instances have: "openssh", "embedded", or "auto", which is OpenSSH's
    where it is installed. `ssh_port` is where all are reached, 0 until the server has chosen it. `capacity` limits what
    one hosting instance of a type serves at once, `*` for any type; none by default. `instance_startup_seconds`, in
    emulated seconds, is how long a hosting instance that is added to scale out takes to serve; 0: as long as its
    process takes. `iam`: whether policies are enforced, only recorded, or neither. `account`: whose quotas bind, those
    of an `old` account or of a `new` one. `operator`: a file with the policies of an IAM user that exists from the
    start. `has_default_vpc`: whether there is one at the start. `strictness`: what the server delays and refuses as AWS
    does.

    Raises:
        NotLoopback: `host` is not an address in 127.0.0.0/8.
        ValueError: another field is out of its range.
    """

    home: Path
    port: int = DEFAULT_PORT
    region: str = DEFAULT_REGION
    account_id: str = "123456789012"
    time_scale: float = 1.0
    host: str = "127.0.0.1"
    ssh_server: str = "auto"
    ssh_port: int = 0
    capacity: Mapping[str, InstanceCapacity] = field(default_factory=dict)
    instance_startup_seconds: float = 0.0
    iam: str = "enforce"
    account: str = "old"
    operator: Path | None = None
    has_default_vpc: bool = True
    strictness: Strictness = LENIENT

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port={self.port}: must be 0 (any free port) to 65535")
        if not 0.01 <= self.time_scale <= 10_000:
            raise ValueError(f"time_scale={self.time_scale}: must be 0.01 to 10000 emulated seconds in a real second")
        if not _is_loopback(self.host):
            raise NotLoopback(
                f"host {self.host!r} is not a loopback address (127.0.0.1): localaws is for this machine only"
            )
        if self.ssh_server not in SSH_SERVERS:
            raise ValueError(f"ssh_server={self.ssh_server!r}: must be one of {', '.join(SSH_SERVERS)}")
        if self.iam not in IAM_MODES:
            raise ValueError(f"iam={self.iam!r}: must be one of {', '.join(IAM_MODES)}")
        if self.account not in ACCOUNTS:
            raise ValueError(f"account={self.account!r}: must be one of {', '.join(ACCOUNTS)}")
        if not 0.0 <= self.instance_startup_seconds <= 3600:
            raise ValueError(
                f"instance_startup_seconds={self.instance_startup_seconds}: must be 0 to 3600 emulated seconds"
            )
        if not re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-\d", self.region):
            raise ValueError(f"region={self.region!r}: must be the name of an AWS region such as eu-central-1")
        if not (self.account_id.isdigit() and len(self.account_id) == 12):
            raise ValueError(f"account_id={self.account_id!r}: must be 12 digits")

    @property
    def keeps_spares(self) -> bool:
        """Whether processes of instances and functions are started ahead, so that an instance takes what is set."""
        return self.instance_startup_seconds > 0

    @property
    def url(self) -> str:
        """What `AWS_ENDPOINT_URL` has to be."""
        return f"http://{self.host}:{self.port}"

    @property
    def owner(self) -> str:
        """Marks every process started for this home (environment variable `LOCALAWS_OWNER`)."""
        return str(self.home.resolve())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
