"""`kennel up`, `kennel down` and `kennel prepare`: start and stop the local servers, remove what runs created."""

from __future__ import annotations

import os
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from kennel.servers import bytecode, environment, isolation, prefect, work_pool
from kennel.servers.localaws import UNCHANGED, Options
from kennel.servers.processes import OWNER_VARIABLE
from kennel.terminal.console import end, print_json, print_plain, say
from tasks.run.private_files import shared_files


def up(options: Options = UNCHANGED) -> int:
    """Start or adopt the local servers, and print the variables that a shell has to export to use them.

    Raises:
        StageFailed: a server ended while it started.
        WaitTimedOut: a server did not answer in time.
        SettingsRefused: the embedded AWS runs already, with other options.
    """
    foreign = isolation.foreign_names(os.environ)
    where = environment.start_servers(_nothing, options)
    with isolation.prefect_imported_in(prefect.folder(where.home)):
        work_pool.ensure()
    end(is_finished=True)
    for line in shell_lines(where, foreign):
        print_plain(line)
    say("both servers answer; to use them in this shell: eval $(kennel up)")
    return 0


def shell_lines(where: environment.Environment, foreign: Sequence[str]) -> list[str]:
    """Return what a shell evaluates to use this environment; `foreign` are the user's AWS_ variables.

    With real AWS these stay set: they say who calls it.
    """
    variables = {**where.variables, **_of_this_shell(where)}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items() if name != OWNER_VARIABLE]
    if not foreign or not where.target.runs_on_this_machine:
        return exports
    return [f"unset {' '.join(foreign)};", *exports]  # with a semicolon, because an unquoted eval joins the lines


def _of_this_shell(where: environment.Environment) -> dict[str, str]:
    """Return what holds in any folder: the home and the runs, and that loopback is not proxied."""
    places = {"KENNEL_HOME": str(where.home.resolve()), "KENNEL_RUNS": str(where.runs.resolve())}
    return {**places, **(isolation.proxy_bypass(os.environ) if isolation.has_proxy(os.environ) else {})}


def _nothing() -> None:
    """Do nothing while the servers start: this command needs no slow imports."""


def prepare() -> int:
    """Compile the packages' bytecode, create the database that new Prefect servers copy, and convert packaged weights.

    Raises:
        StageFailed: Prefect's migrations failed, or the weights could not be converted.
        WaitTimedOut: one of them did not end in time.
        DiskFailed: the weights cannot be written.
    """
    from tasks.model import imagenet

    begun = time.perf_counter()
    with shared_files():  # the environment may be other users' too
        bytecode.compile_packages()
        say(f"bytecode of the packages: compiled, {time.perf_counter() - begun:.0f} s")
        say(f"Prefect's database: {prefect.prepare()}")
        say(f"ImageNet weights: {imagenet.prepare()}")
    return 0


def down(run_id: str | None, *, is_confirmed: bool, as_json: bool) -> int:
    """Remove everything that one run or all runs created; without a run id, also stop the local servers.

    The exit code is that of `TeardownIncomplete` if a ledger does not say what there was to remove.

    Raises:
        SettingsRefused: it was not confirmed, a model would be lost without `--yes`, or there is no such run.
        RunBusy: another process works on the run.
        TeardownIncomplete: a resource still exists.
        AwsFailed: a lookup failed.
        WaitTimedOut: the embedded AWS hangs, and `--yes` or all runs were not meant.
        LedgerRefused: a ledger cannot be read.
    """
    from kennel.commands.known_runs import run_dir_of
    from tasks.run.errors import TeardownIncomplete
    from tasks.run.ledger_contents import unread_ledgers

    home, runs = environment.home_and_runs()
    environment.say_home(home)
    environment.say_damage(home)
    where, ended = _connect(home, ends_hung=run_id is None and is_confirmed)
    if where is None or not _answers(where):
        say("the embedded AWS does not run, so its resources do not exist any more")
        result: dict[str, object] = {"removed": [], "kept": [], "forgotten": _forget_local(runs, run_id)}
    else:
        result = _tear_down(run_id, is_confirmed=is_confirmed)
    if run_id is not None and not result["removed"]:
        run_dir_of(runs, run_id)
    ended += [] if run_id else environment.stop_servers(home)
    for name in ended:
        say(f"ended: {name}")
    unread = unread_ledgers(runs, run_id)
    for text in unread:
        say(f"incomplete: {text}; what its run created is known by its tags only. Remove or move it once that is gone")
    if as_json:
        print_json({**result, "ended": ended, "unread": unread})
    return TeardownIncomplete.exit_code if unread else 0


def _connect(home: Path, *, ends_hung: bool) -> tuple[environment.Environment | None, list[str]]:
    """Return the AWS to remove things from, and the servers that were ended because the embedded AWS hangs.

    Raises:
        WaitTimedOut: the embedded AWS hangs, and is not to be ended.
    """
    from tasks.run.errors import WaitTimedOut

    try:
        return environment.connect_to_running(), []
    except WaitTimedOut as hung:
        if not ends_hung:
            raise
        say(f"localaws: {hung.what}: {hung.why}; it is ended, and its resources with it")
        return None, environment.stop_servers(home)


def down_expired(run_id: str | None, *, is_confirmed: bool, as_json: bool) -> int:
    """Remove everything of the runs that are past their time to live; the local servers stay.

    Raises:
        SettingsRefused: a run is named, it was not confirmed, or a model would be lost without `--yes`.
        RunBusy: another process works on a run.
        TeardownIncomplete: a resource still exists.
        AwsFailed: a lookup failed.
    """
    from tasks.run.aws import Aws
    from tasks.run.errors import SettingsRefused
    from tasks.run.settings import Settings
    from tasks.teardown.expired import tear_down_expired

    if run_id is not None:
        why = "--expired chooses the runs by their time to live"
        raise SettingsRefused("kennel down", f"{run_id} with --expired", why, f"kennel down {run_id}, or leave it out")
    home, _ = environment.home_and_runs()
    environment.say_home(home)
    where = environment.connect_to_running()
    if where is None or not _answers(where):
        say("the embedded AWS does not run, so its resources do not exist any more")
        result: dict[str, object] = {"removed": [], "kept": [], "runs": []}
    else:
        result = asdict(tear_down_expired(Aws(Settings.load()), yes=is_confirmed, say=say))
    if as_json:
        print_json({**result, "ended": [], "unread": []})
    return 0


def _tear_down(run_id: str | None, *, is_confirmed: bool) -> dict[str, object]:
    from tasks.run.aws import Aws
    from tasks.run.settings import Settings
    from tasks.teardown.teardown import tear_down

    report = tear_down(Aws(Settings.load()), run_id, yes=is_confirmed, say=say)
    say(f"removed {len(report.removed)} resources of {len(report.runs)} runs; {len(report.kept)} kept")
    if report.models_kept or report.models_lost:
        say(f"their models: {len(report.models_kept)} are on this machine, {len(report.models_lost)} are lost")
    return asdict(report)


def _answers(where: environment.Environment) -> bool:
    """Tell whether a local endpoint accepts connections; real AWS is assumed to."""
    from tasks.run.settings import Settings

    url = Settings.load().endpoint_url
    if not where.target.runs_on_this_machine or url is None:
        return True
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=2.0):
            return True
    except OSError:
        return False


def _forget_local(runs: Path, run_id: str | None) -> list[str]:
    """Close the ledger rows of an embedded AWS that has ended, because its resources were in its memory."""
    from kennel.commands.known_runs import all_runs
    from tasks.run.errors import KennelError
    from tasks.run.run_lock import run_lock

    forgotten = []
    for run_dir in all_runs(runs):
        if run_id not in {None, run_dir.name}:
            continue
        try:
            with run_lock(run_dir):
                forgotten += _forget_lost(run_dir)
        except KennelError as error:
            say(f"run {run_dir.name}: its ledger is not changed: {error.what}: {error.why}")
    return forgotten


def _forget_lost(run_dir: Path) -> list[str]:
    """Close the live rows of one run if they are of an embedded AWS that has ended; a damaged ledger is renewed first.

    One that does not say which AWS it is for stays as it is, because its resources may be on real AWS.

    Raises:
        LedgerRefused: the ledger cannot be read, or does not say which AWS it is for.
    """
    from tasks.run.ledger import close_lost, renew_ledger
    from tasks.run.ledger_contents import damaged, inspect_ledger
    from tasks.run.logical_aws import is_lost

    contents = inspect_ledger(run_dir)
    header, live = contents.header, contents.live
    if contents.faults and header is None:
        raise damaged(run_dir, contents.faults[0])
    if contents.faults:
        fault, aside = contents.faults[0], renew_ledger(run_dir)
        say(f"run {run_dir.name}: line {fault.line} of its ledger was damaged: {fault.why}; it is kept as {aside}")
    if header is None or not live:
        return []
    if is_lost(header.aws):
        close_lost(run_dir)
        return [f"{row.kind} {row.name}" for row in live]
    if header.aws.is_local:
        say(f"run {run_dir.name}: {len(live)} resources are not removed: {header.aws.text} still runs")
    else:
        say(f"run {run_dir.name}: {len(live)} resources on AWS, account {header.account_id}, are not removed")
        say(f"  remove them: AWS_REGION={header.region} KENNEL_ACCOUNT_ID={header.account_id} kennel down")
    return []
