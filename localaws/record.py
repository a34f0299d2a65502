"""The record of a running server in its home, by which all commands find it, and the command that runs one.

Nothing of the server itself is imported here: a command that starts one, or talks to one, is quick.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from localaws import shell
from localaws.auth.paths import CONSOLE
from localaws.capacity import format_rule
from localaws.errors import NotItsHome
from localaws.folders import read_json, unsealed
from localaws.process_tree import is_alive, start_mark
from localaws.settings import Settings


@dataclass(frozen=True)
class ServerRecord:
    """What `home/server.json` says of a server.

    `created`: the process's `start_mark`; `started`: the Unix time of its state, where the emulated clock starts too;
    `ssh_port`:
    where all EC2 instances are reached; `capacity`: the rules that it was started with; `generation`: the name of its
    state, as `/_localaws/health` tells it. Secret are the root user's key, the bearer token of localaws's own paths,
    the operator's key, empty if there is no operator, and the console's token, which is in the console's address.
    """

    pid: int
    created: str
    started: float
    host: str
    port: int
    region: str
    account_id: str
    time_scale: float
    ssh_port: int
    capacity: list[str] = field(default_factory=list)
    instance_startup_seconds: float = 0.0
    iam: str = "enforce"
    account: str = "old"
    generation: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    operator_access_key_id: str = ""
    operator_secret_access_key: str = field(default="", repr=False)
    home: str = ""
    strict: bool = False
    console_token: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """What `AWS_ENDPOINT_URL` has to be."""
        return f"http://{self.host}:{self.port}"

    @property
    def console_url(self) -> str:
        """The secret address of the console."""
        return f"{self.url}{CONSOLE}{self.console_token}/"

    @property
    def environment(self) -> dict[str, str]:
        """What a client has to have in its environment. The root user's key has no session token."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": "",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }


def read_record(home: Path) -> ServerRecord | None:
    """Return the record of the server that runs with `home`.

    None if none does, or the record is damaged or was copied from another home, whose server is not this one's.
    """
    try:
        record = ServerRecord(**unsealed(read_json(home / "server.json")))
    except (FileNotFoundError, NotItsHome, ValueError, TypeError):
        return None
    is_own = record.home in ("", str(home.resolve()))  # those of older releases name none
    return record if is_own and is_running(record) else None


def is_running(record: ServerRecord) -> bool:
    """Return whether the server of this record runs; its process id may be another process's by now."""
    try:
        process = psutil.Process(record.pid)
        return start_mark(record.pid) == record.created and is_alive(process)
    except (psutil.NoSuchProcess, OSError):
        return False


def serve_command(settings: Settings) -> list[str]:
    """Return the command that serves with these settings."""
    return [
        *(sys.executable, "-P", "-m", "localaws", "serve", "--home", str(settings.home)),
        *("--host", settings.host, "--port", str(settings.port), "--time-scale", str(settings.time_scale)),
        *("--region", settings.region),
        *("--ssh-server", settings.ssh_server, "--iam", settings.iam, "--account", settings.account),
        *(("--operator", str(settings.operator)) if settings.operator else ()),
        *("--instance-startup-seconds", str(settings.instance_startup_seconds)),
        *(("--strict",) if settings.strictness.is_late else ()),
        *(() if settings.has_default_vpc else ("--no-default-vpc",)),
        *("--capacity-errors", str(settings.strictness.capacity_errors), "--seed", str(settings.strictness.seed)),
        *(part for rule in settings.capacity.items() for part in ("--capacity", format_rule(*rule))),
    ]


def already_running(home: Path, record: ServerRecord | None) -> str:
    """Return the message that says where the running server is and how to stop it."""
    where = f" at {record.url} (pid {record.pid})" if record else ""
    return f"localaws is already running with home {home}{where}; stop it: {shell.command('stop', home)}"
