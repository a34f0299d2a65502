"""Decides which AWS, which Prefect server and which home a command uses; local servers are started or adopted.

Real AWS is never chosen by default: without an endpoint and without a named account, the embedded AWS is used.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kennel.servers import isolation, localaws, localaws_record, prefect, processes
from kennel.servers.limits import require_limits
from kennel.servers.operator_policies import renew_policies
from kennel.servers.private_home import foreign_folders, make_private
from kennel.terminal import console
from kennel.terminal.stages import SERVERS
from tasks.run import machine
from tasks.run.errors import KennelError, SettingsRefused
from tasks.run.localaws_watch import LocalAwsWatch
from tasks.run.logical_aws import LogicalAws
from tasks.run.settings import DEFAULT_HOME, Settings, Target, validate_url
from tasks.run.source_name import source_name


@dataclass(frozen=True)
class Environment:
    """The home, the folder of runs, the AWS and the environment variables of a command."""

    home: Path
    runs: Path
    target: Target
    variables: Mapping[str, str]

    @property
    def description(self) -> str:
        """One line that names the AWS, and for the embedded one the machine that it runs on.

        Raises:
            SettingsRefused: a setting is out of bounds.
        """
        settings = Settings.load()
        return machine.measured_on(settings) + (
            f" at {source_name(settings.endpoint_url)}" if settings.endpoint_url else ""
        )


class _Used:
    """What this process uses, for the message of an error."""

    embedded: localaws.EmbeddedAws | None = None
    watch: LocalAwsWatch | None = None
    again: str = localaws.AGAIN


def home_and_runs() -> tuple[Path, Path]:
    """Return kennel's home and the folder of runs, as the settings name them.

    Raises:
        SettingsRefused: a setting is out of bounds.
    """
    settings = Settings.load()
    return settings.home, settings.runs


def say_home(home: Path) -> None:
    """Say which home is used, unless it is the current folder's own."""
    if home != DEFAULT_HOME:
        found = "KENNEL_HOME" if os.environ.get("KENNEL_HOME") else "found in a folder above; KENNEL_HOME names another"
        console.say(f"home: {home} ({found})")


def wants_embedded_aws() -> bool:
    """Tell whether the command uses this home's embedded AWS: no account and no other endpoint is named.

    A shell may have exported the address of a server that has ended; it names this home's embedded AWS too.

    Raises:
        SettingsRefused: a setting is out of bounds.
    """
    settings = Settings.load()
    if settings.endpoint_url is None:
        return settings.account_id is None
    own = localaws.find(settings.home)
    return settings.endpoint_url == (localaws.last_url(settings.home) if own is None else own.url)


def use_key(name: str | None) -> None:
    """Let the settings of this process name a key of KMS; None leaves them as they are.

    Raises:
        SettingsRefused: it is neither an ARN nor an alias.
    """
    if name is not None:
        Settings.given({"kms_key": ("--kms-key", name)})
        os.environ["KENNEL_KMS_KEY"] = name


def start_servers(meanwhile: Callable[[], None], options: localaws.Options = localaws.UNCHANGED) -> Environment:
    """Start or adopt both local servers at the same time, and set their variables in this process's environment.

    `meanwhile` is called while the servers start, with Prefect's variables set; slow imports belong there.

    Raises:
        StageFailed: a server ended while it started.
        DiskFailed: this shell's limits are too low.
        WaitTimedOut: a server did not answer in time.
        TargetRefused: an endpoint is named that is not on loopback.
        SettingsRefused: `options` are given, and another AWS is named or the embedded AWS runs with other options; or
            PREFECT_API_URL has a user or a password.
    """
    home, runs = home_and_runs()
    require_limits()
    embedded = wants_embedded_aws()
    is_local = embedded or _named_target(options).runs_on_this_machine
    say_home(home)
    tend_servers(home)
    say_damage(home)
    if make_private(home, runs):
        console.say(f"{home} and {runs} could be read by other users of this machine; now only you can")
    for folder in foreign_folders(home, runs):
        console.say(
            f"{folder} keeps its mode, because it also holds what is not kennel's; what kennel writes is private"
        )
    named = _other_prefect(home)
    if is_local:
        isolation.isolate_aws(os.environ)
    console.stage(SERVERS, "begins")
    begun = time.perf_counter()
    aws_process = localaws.begin(home, options) if embedded else None
    server = _begin_prefect(home, named if not is_local else None)
    if named is not None:
        console.say(f"Prefect's server: {source_name(named)}" if server is None else _not_used(named))
    variables = {processes.OWNER_VARIABLE: processes.owner_of(home)}
    if server is not None:
        variables |= prefect.settings_for(home, server.url)
    os.environ.update(variables)
    meanwhile()
    if embedded:
        console.say("waiting for localaws")
        _Used.embedded = localaws.wait(home, aws_process)
        _renew_policies(home)
        variables |= _Used.embedded.environment
    os.environ.update(variables)
    target = Settings.load().target()
    _watch()
    if server is not None:
        console.say("waiting for Prefect's server")
        prefect.wait(server)
    console.stage(SERVERS, "done", time.perf_counter() - begun)
    return Environment(home, runs, target, variables)


def _named_target(options: localaws.Options) -> Target:
    """Return the AWS that is named, before anything is started: it raises when the target is not clear."""
    target = Settings.load().target()
    _refuse_options(options)
    return target


def _other_prefect(home: Path) -> str | None:
    """Return the user's PREFECT_API_URL; None when there is none, or when it comes from `kennel up` for this home."""
    is_own = os.environ.get("PREFECT_HOME") == str(prefect.folder(home))
    return None if is_own else os.environ.get("PREFECT_API_URL") or None


def _begin_prefect(home: Path, other: str | None) -> processes.BackgroundProcess | None:
    """Start kennel's own server with nothing of the user's settings; None when another one is to be used."""
    if other is not None:
        _refuse_user_in(other)
        return None
    isolation.isolate_prefect(os.environ)
    before = processes.last(home, prefect.NAME)
    server = prefect.begin(home)
    if before is not None and server.url != before.url:
        console.say(f"Prefect's server: its port is taken ({before.url}); it starts at {server.url}")
    return server


def _refuse_user_in(url: str) -> None:
    """Refuse the address of another server of Prefect's that has a user or a password, because Prefect shows it.

    Raises:
        SettingsRefused: it has.
    """
    try:
        validate_url(url)
    except ValueError as error:
        name, remedy = f"PREFECT_API_URL={source_name(url)}", "give them by PREFECT_API_AUTH_STRING=user:password"
        raise SettingsRefused("settings", name, str(error), remedy) from error


def _not_used(url: str) -> str:
    return f"PREFECT_API_URL={source_name(url)} is not used: work on this machine stays on kennel's own server"


def import_flow(name: str) -> None:
    """Import a module of flows, and Prefect with it, which takes 2 to 3 s of CPU.

    Prefect's own console output is switched off, because the command prints each error once.

    Raises:
        SettingsRefused: a setting is out of bounds.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    console.say("importing Prefect and the flows")
    with isolation.prefect_imported_in(prefect.folder(Settings.load().home)):
        importlib.import_module(name)


def connect_to_running() -> Environment | None:
    """Set this process's environment for the named AWS, or for the embedded one if it runs; return None if neither.

    Raises:
        TargetRefused: an endpoint is named that is not on loopback.
        SettingsRefused: a setting is out of bounds.
        WaitTimedOut: the embedded AWS runs and hangs.
    """
    home, runs = home_and_runs()
    variables: dict[str, str] = {}
    if wants_embedded_aws():
        tend_servers(home)
        running = localaws.find(home)
        if running is None:
            return None
        localaws.require_answer(running)
        _Used.embedded, variables = running, running.environment
        _renew_policies(home)
    os.environ.update(variables)
    target = Settings.load().target()
    if target.runs_on_this_machine:
        isolation.isolate_aws(os.environ)
    _watch()
    return Environment(home, runs, target, variables)


def _watch() -> None:
    """Say from now on when the AWS on this machine that the settings name does not answer, and when it does again."""
    if _Used.watch is not None:
        _Used.watch.end()
        _Used.watch = None
    url, own = Settings.load().endpoint_url, _Used.embedded
    if url is not None:
        _Used.watch = LocalAwsWatch(url, own.pid if own and own.url == url else None, console.say)
        _Used.watch.start()


def _renew_policies(home: Path) -> None:
    said = renew_policies(home, localaws.ACCOUNT_ID)
    if said is not None:
        console.say(said)


def say_damage(home: Path) -> None:
    """Say which records of the home's processes cannot be read; the processes are still found, and ended by `down`."""
    for text in [*processes.damaged(home), *localaws.damaged(home)]:
        console.say(f"WARNING: {text}")


def tend_servers(home: Path) -> None:
    """Let servers of this home go on that somebody stopped, and end those that it had before it was moved here."""
    for pid in filter(processes.wake, _pids(home)):
        console.say(f"process {pid}, a server of this home, was stopped by a signal (SIGSTOP); it goes on")
    if ended := processes.stop_moved(home):
        console.say(f"the home was moved here while its servers ran: {len(ended)} processes of its old place are ended")


def running_servers() -> list[int]:
    """Return the process ids of the home's local servers that run; none where the settings name no home."""
    try:
        home, _ = home_and_runs()
    except SettingsRefused:
        return []
    return _pids(home)


def _pids(home: Path) -> list[int]:
    """Return the process ids of the servers of a home that run."""
    running = [processes.find(home, name) for name in (localaws_record.NAME, prefect.NAME)]
    return [server.pid for server in running if server is not None]


def stop_servers(home: Path) -> list[str]:
    """Stop the local servers and all processes that they or a killed command left; return what was stopped."""
    ended = [name for name, stop in (("localaws", localaws.stop), ("Prefect's server", _stop_prefect)) if stop(home)]
    strays = processes.stop_strays(home)
    return ended + ([f"{len(strays)} stray processes"] if strays else [])


def explained(error: KennelError) -> KennelError:
    """Return the error to show: that the embedded AWS of this command has ended, if it has, or the error itself."""
    return (localaws.ended(_Used.embedded, error, _Used.again) if _Used.embedded else None) or error


def needs_the_run(run_id: str) -> None:
    """Let the error of an embedded AWS that ends name the command that makes anew what this one only uses."""
    _Used.again = (
        f"repeat the kennel run by which {run_id} was made: it starts another one and makes anew what was lost; "
        "then run the same command again"
    )


def present_aws(home: Path) -> LogicalAws | None:
    """Return the embedded AWS that runs for this home, or None."""
    running = localaws.find(home)
    return None if running is None else LogicalAws(running.url, running.home, running.generation)


def _refuse_options(options: localaws.Options) -> None:
    if options.given:
        why = "these options are for the embedded AWS that kennel starts, and another AWS is named"
        remedy = "unset AWS_ENDPOINT_URL KENNEL_ACCOUNT_ID"
        raise SettingsRefused("the embedded AWS", ", ".join(options.given), why, remedy)


def _stop_prefect(home: Path) -> bool:
    return processes.stop(home, prefect.NAME)
