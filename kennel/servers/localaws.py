"""Starts or adopts localaws in the background for a kennel home, and returns the variables that its clients need.

localaws is started as a program (`python -m localaws`) and never imported: the command and the flows use only AWS's
wire protocol.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from kennel.servers import processes
from kennel.servers.localaws_record import NAME, localaws_home, read_record, record_path, running_record, written_record
from kennel.servers.operator_policies import write_policies
from kennel.servers.ports import free_port
from kennel.terminal.console import say
from tasks.run.command_line import path_argument
from tasks.run.errors import KennelError, SettingsRefused, StageFailed, Unreachable, WaitTimedOut
from tasks.run.machine import fetch_from_loopback
from tasks.run.process_mark import is_alive
from tasks.run.record_store import write_atomically
from tasks.run.sealed import Damaged, read_regular
from tasks.run.settings import LOCAL_CONSOLE_PATH, LOCAL_HEALTH_PATH, LOCAL_PERMISSIONS_PATH

PREFERRED_PORT = 4577
LAST_URL = Path("processes") / "localaws.url"
AGAIN = "run the same command again: it starts another one and makes anew what was lost"
"""The file in kennel's home with the URL of the server that was started last; it outlives `kennel down`."""

START_SECONDS = 60.0
HUNG_SECONDS = 30.0  # on a busy machine an answer takes seconds
RECORD_SECONDS = 5.0  # a server writes its record when it begins to answer
ANSWER_SECONDS = 2.0
WRONG_USAGE = 2  # localaws's exit code when it does not understand an option
UNCHECKED = "localaws"  # a server of 0.1.0 that still runs names no key and accepts any
SSH_PORT = 22  # the usual port of instances; without root the embedded AWS has to use another one


ACCOUNT_ID, REGION = "123456789012", "us-east-1"
"""The account of the embedded AWS, and its region unless another is given."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the embedded AWS; None and () mean its defaults, or the values of the one that runs.

    `time_scale` is how many of AWS's seconds pass in a second, `capacity` are rules `TYPE[=[CONCURRENCY][:FLOORms]]` of
    hosting instances, `instance_startup_seconds` is how many of AWS's seconds a new hosting instance needs, `iam` says
    whether it enforces IAM's policies, only records what they decide, or does neither, `account` whose quotas it has,
    those of an `old` account or of a `new` one, `strict` whether it delays and refuses what AWS does, and `region` in
    which region, and so in which partition of AWS, it is.
    """

    time_scale: float | None = None
    capacity: tuple[str, ...] = ()
    instance_startup_seconds: float | None = None
    iam: str | None = None
    account: str | None = None
    strict: bool | None = None
    region: str | None = None

    @property
    def given(self) -> dict[str, float | str | list[str]]:
        """The options that were given, by the names of `server.json`."""
        given = {name: value for name, value in vars(self).items() if value not in (None, ())}
        return {name: list(value) if name == "capacity" else value for name, value in given.items()}

    @property
    def arguments(self) -> list[str]:
        """The options as arguments of localaws's command line."""
        rules = [part for rule in self.capacity for part in ("--capacity", rule)]
        others = [
            part
            for name, value in self.given.items()
            if name not in ("capacity", "strict")
            for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        others += ["--strict"] if self.strict else []
        return rules + others


UNCHANGED = Options()


@dataclass(frozen=True)
class EmbeddedAws:
    """A running localaws server, whose clock runs `time_scale` times as fast as a real one since `clock_origin`.

    `generation` names what it has in memory; a server that was started again has another one. `strict`: it delays and
    refuses what AWS does.
    """

    url: str
    region: str
    pid: int
    ssh_port: int
    time_scale: float
    clock_origin: float
    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(default="", repr=False)
    home: str = ""
    generation: str = ""
    strict: bool = False
    console_token: str = field(default="", repr=False)

    @property
    def console_url(self) -> str | None:
        """The secret address of its console; None if it is of a release that has none."""
        return f"{self.url}{LOCAL_CONSOLE_PATH}{self.console_token}/" if self.console_token else None

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a client needs."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": "",  # the root user has none; one of the shell's would be refused
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            **({} if self.ssh_port == SSH_PORT else {"KENNEL_SSH_PORT": str(self.ssh_port)}),
            "KENNEL_TIME_SCALE": repr(self.time_scale),
            "KENNEL_CLOCK_ORIGIN": repr(self.clock_origin),
            "KENNEL_STRICT": str(int(self.strict)),
            **({"KENNEL_PERMISSIONS_TOKEN": self.permissions_token} if self.token else {}),
            **({"KENNEL_CONSOLE_TOKEN": self.console_token} if self.console_token else {}),
        }

    @property
    def permissions_token(self) -> str:
        """What its record of permissions asks for; the server's own token opens all of its paths."""
        return hmac.new(self.token.encode(), LOCAL_PERMISSIONS_PATH.encode(), "sha256").hexdigest()


def find(home: Path) -> EmbeddedAws | None:
    """Return the server that runs for this home, or None."""
    record = running_record(home)
    if record is None:
        return None
    return EmbeddedAws(
        url=f"http://127.0.0.1:{record['port']}",
        region=record["region"],
        pid=record["pid"],
        ssh_port=record["ssh_port"],
        time_scale=record["time_scale"],
        clock_origin=record["started"],
        access_key_id=record.get("operator_access_key_id") or record.get("access_key_id", UNCHECKED),
        secret_access_key=record.get("operator_secret_access_key") or record.get("secret_access_key", UNCHECKED),
        token=record.get("token", ""),
        home=str(localaws_home(home)),
        generation=record.get("generation", ""),
        strict=record.get("strict", False),
        console_token=record.get("console_token", ""),
    )


def last_url(home: Path) -> str | None:
    """Return the URL of the server that was started last for this home, whether or not it runs."""
    try:
        return read_regular(home / LAST_URL).decode()
    except (FileNotFoundError, UnicodeDecodeError, Damaged):
        return None


def begin(home: Path, options: Options = UNCHANGED) -> processes.BackgroundProcess | None:
    """Start the server without waiting for it, or adopt one that another command starts; return None when one runs.

    It takes the port of the last one if that is free, because a shell may have exported it. If the last one was killed,
    it also takes those of its options that are not given.

    Raises:
        SettingsRefused: the server that runs was started with other options, or another command starts it and its
            options are not known yet.
        StageFailed: there is no free port.
    """
    with processes.starting(home, NAME):
        running = running_record(home)
        if running is not None:
            _refuse_other_options(options, running)
            return None
        starting = processes.find(home, NAME)
        if starting is not None:
            _refuse_unknown_options(options)
            return starting
        port = free_port(*_last_port(home), PREFERRED_PORT)
        command = [sys.executable, "-P", "-m", "localaws", "--home", str(localaws_home(home)), "--port", str(port)]
        chosen = _with_options_of_killed(home, options)
        command += ["--operator", str(write_policies(home, ACCOUNT_ID, chosen.region or REGION))]
        url = f"http://127.0.0.1:{port}"
        return processes.spawn(home, NAME, command + chosen.arguments, environment=os.environ, url=url)


def wait(home: Path, started: processes.BackgroundProcess | None) -> EmbeddedAws:
    """Wait until the server answers.

    Raises:
        SettingsRefused: the server did not understand an option.
        StageFailed: the server ended; the error has the end of its log. Or it answers, and its record is unreadable.
        WaitTimedOut: the server did not answer within a minute, or it runs and hangs.
    """
    begun, answered = time.monotonic(), None
    while (running := find(home)) is None:
        now = time.monotonic()
        if started is not None and not started.is_alive:
            raise _ended(started)
        if started is not None and answered is None and now - begun > RECORD_SECONDS and _answers(started.url):
            answered = time.monotonic()
        if started is not None and answered is not None and now - answered > RECORD_SECONDS:
            raise _unreadable(started)
        if now - begun > START_SECONDS:
            see = f"less {path_argument(started.log if started else localaws_home(home))}"
            raise WaitTimedOut("localaws", "it does not start", f"no answer in {now - begun:.0f} s", see)
        time.sleep(0.02)
    require_answer(running)
    if started is not None:
        write_atomically(home / LAST_URL, running.url.encode())
    return running


def require_answer(server: EmbeddedAws) -> None:
    """Wait until a server that runs answers, or has ended.

    Raises:
        WaitTimedOut: it does not.
    """
    begun = time.monotonic()
    while not _answers(server.url) and (waited := time.monotonic() - begun) and is_alive(server.pid):
        if waited > HUNG_SECONDS:
            what, why = f"it hangs (process {server.pid})", f"{server.url} did not answer in {waited:.0f} s"
            raise WaitTimedOut("localaws", what, why, "kennel down --yes, which ends it, then the same command again")
        say(f"localaws, the embedded AWS, does not answer (process {server.pid}, {server.url})")
        time.sleep(ANSWER_SECONDS)


def ended(server: EmbeddedAws, first: KennelError, again: str = AGAIN) -> Unreachable | None:
    """Return the error of a command during which its server ended, or None if that runs.

    `first` is what was seen, and `again` what makes anew what was lost.
    """
    present = find(Path(server.home).parent)
    if present is not None and present.generation == server.generation:
        return None
    what = f"localaws, the embedded AWS of this home, ended while the command ran (process {server.pid})"
    why = f"all that it had was in its memory and is lost; the first sign was: {first.what}"
    return Unreachable(first.where, what, why, again)


def stop(home: Path) -> bool:
    """Stop the server and everything that it started; tell whether it ran. The next one has no options of this one."""
    running = find(home)
    if running is not None:
        processes.end_process(running.pid)
    has_ended = processes.stop(home, NAME)
    with contextlib.suppress(OSError):  # one that was killed, now or earlier, left its record
        record_path(home).unlink()
    return has_ended or running is not None


def _ended(started: processes.BackgroundProcess) -> SettingsRefused | StageFailed:
    """Return the error that explains why the server ended, from its exit code and the end of its log."""
    tail = Path(started.log).read_text(errors="replace").strip()[-2000:]
    status = None
    with contextlib.suppress(psutil.Error):  # another command's process has no status for this one
        status = psutil.Process(started.pid).wait(0)
    if status == WRONG_USAGE:
        why = tail.splitlines()[-1] if tail else "it did not say why"
        return SettingsRefused("the embedded AWS", "an option was refused", why, "kennel up --help")
    return StageFailed("localaws", "it ended while starting", tail, f"less {path_argument(started.log)}")


def _unreadable(started: processes.BackgroundProcess) -> StageFailed:
    """Return the error of a server that runs while nobody can read its keys."""
    why = "localaws/server.json in the home, which has its keys, was damaged or removed"
    again = "kennel down --yes, which ends it, then run the same command again"
    return StageFailed("localaws", f"{started.url} answers, but cannot be used", why, again)


def _answers(url: str) -> bool:
    try:
        fetch_from_loopback(f"{url}{LOCAL_HEALTH_PATH}", ANSWER_SECONDS)
    except (OSError, HTTPException, ValueError):
        return False
    return True


def _last_port(home: Path) -> tuple[int, ...]:
    try:
        port = urlsplit(last_url(home) or "").port
    except ValueError:  # the file is damaged
        port = None
    return () if port is None else (port,)


def _with_options_of_killed(home: Path, options: Options) -> Options:
    """Return the options, with those of a server that was killed in place of those that are not given.

    A server that was stopped removed its record.
    """
    record = written_record(home) or {}
    startup = options.instance_startup_seconds
    return Options(
        time_scale=record.get("time_scale") if options.time_scale is None else options.time_scale,
        capacity=options.capacity or tuple(record.get("capacity", ())),
        instance_startup_seconds=record.get("instance_startup_seconds") if startup is None else startup,
        iam=options.iam or record.get("iam"),
        account=options.account or record.get("account"),
        strict=record.get("strict") if options.strict is None else options.strict,
        region=options.region or record.get("region"),
    )


def damaged(home: Path) -> list[str]:
    """Return what is wrong with the server's record: it cannot be read, or is missing beside a server that answers."""
    try:
        read_record(home)
    except FileNotFoundError:
        running = processes.find(home, NAME)
        if running is None or processes.is_starting(home, NAME) or not _answers(running.url):
            return []
        lost = f"{record_path(home)} is missing, so the keys of localaws are not known"
        return [f"{lost}; it runs at {running.url} (process {running.pid}), and kennel down --yes ends it"]
    except (OSError, Damaged) as error:
        return [f"{record_path(home)} is not used, because it is damaged: {error}"]
    return []


def _refuse_unknown_options(options: Options) -> None:
    if options.given:
        what, why = ", ".join(options.given), "another command is starting it, perhaps with other options"
        raise SettingsRefused("the embedded AWS", what, why, "run the same command again")


def _refuse_other_options(options: Options, running: Mapping[str, Any]) -> None:
    for name, wanted in options.given.items():
        if running.get(name) != wanted:
            what, why = f"{name} {wanted}", f"the embedded AWS runs already, with {running.get(name)}"
            raise SettingsRefused("the embedded AWS", what, why, "kennel down --yes, then run the same command again")
