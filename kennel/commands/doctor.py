"""`kennel doctor`: looks at the account and this machine before a run, and prints each finding with its cure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kennel import flags
from kennel.terminal import console
from tasks.run.options import (
    DeployOptions,
    Ec2Instances,
    Ec2TrainingOptions,
    Machines,
    ModelOptions,
    Network,
    TrainingOptions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kennel.servers import environment
    from tasks.doctor.findings import Finding
    from tasks.run.settings import Settings

FOUND = 12
_ENDPOINT = {"instances": "endpoint-instances", "instance_type": "endpoint-instance-type"}
_OF_DEPLOYMENTS = (  # what no check is about
    *("allowed_hosts", "capture", "capture_days", "canary", "canary_minutes"),
    *("public_url", "confirm_public", "public_concurrency", "fetch_urls", "allowed_origins"),
)
_WORDS = {"ok": "OK", "warn": "WARN", "fail": "FAIL", "skipped": "SKIPPED"}
_CHECK_WIDTH, _WORD_WIDTH = 11, 7


def doctor(
    *,
    machines: Annotated[Machines, flags.flags_of(flags.MACHINES)] = Machines(),
    finetune: Annotated[
        bool, Parameter(group=flags.MACHINES, negative="", help="The run trains the backbone too (GPU).")
    ] = False,
    ec2_instances: Annotated[
        Ec2Instances, Parameter(group=flags.MACHINES, help="EC2 instances of the run; 0 leaves EC2 out.")
    ] = 1,
    deploy: Annotated[
        DeployOptions,
        flags.flags_of(flags.MACHINES, names=_ENDPOINT, without=_OF_DEPLOYMENTS),
    ] = DeployOptions(),
    network: Annotated[Network, flags.flags_of(flags.NETWORK, names=flags.NETWORK_NAMES)] = Network(),
    kms_key: flags.KmsKey = None,
    json: flags.Json = False,
) -> int:
    """Look at what a run with these options needs; return 12 if one would fail, or if something could not be seen.

    Raises:
        SettingsRefused: a setting is out of bounds, or the settings do not say which AWS to use.
    """
    from kennel.servers import environment
    from tasks.doctor.account import RunParts, account_findings
    from tasks.run.settings import Settings

    console.begin("kennel doctor")
    environment.use_key(kms_key)
    begun, where = time.perf_counter(), environment.connect_to_running()
    settings = Settings.load()
    training = TrainingOptions.of(ModelOptions(finetune=finetune), machines)
    same = Ec2TrainingOptions.of(ModelOptions.of(training), instances=ec2_instances, spot=training.spot)
    wanted = RunParts(training, deploy, same if ec2_instances else None, network)
    found = [*_of_machine(settings, where), *([] if where is None else account_findings(settings, wanted, writes=True))]
    _print(_title(settings, where), found, time.perf_counter() - begun, as_json=json)
    return FOUND if any(each.status in ("fail", "skipped") for each in found) else 0


def _title(settings: Settings, where: environment.Environment | None) -> str:
    if where is None:
        return "localaws does not run and no account is named, so only this machine was looked at"
    return f"the embedded AWS at {settings.endpoint_url}" if where.target.runs_on_this_machine else "AWS"


def _of_machine(settings: Settings, where: environment.Environment | None) -> tuple[Finding, ...]:
    from tasks.doctor.examine import Check, examine
    from tasks.doctor.machine import NAMESPACE_SECONDS, machine_findings, namespace_findings

    is_local = where is None or where.target.runs_on_this_machine
    checks = [Check("machine", partial(machine_findings, settings, is_local=is_local))]
    if is_local:
        checks.append(Check("namespaces", namespace_findings))
    checks.append(Check("ports", partial(_ports, settings, is_local=is_local)))
    return examine(checks, NAMESPACE_SECONDS)


def _ports(settings: Settings, *, is_local: bool) -> Iterator[Finding]:
    """Yield whether the local servers have their ports, or can have them; they take others where those are taken."""
    from kennel.servers import localaws, localaws_record, prefect, processes
    from kennel.servers.ports import is_free
    from tasks.doctor.findings import ok, warn

    wanted = {"localaws": (localaws_record.NAME, localaws.PREFERRED_PORT)} if is_local else {}
    wanted["Prefect's server"] = (prefect.NAME, prefect.PREFERRED_PORT)
    for title, (name, port) in wanted.items():
        running = processes.find(settings.home, name)
        if running is not None:
            yield ok("ports", f"{title} answers at {running.url}")
        elif is_free(port):
            yield ok("ports", f"{port} is free for {title}")
        else:
            cure = f"nothing: {title} takes another; ss -ltnp 'sport = :{port}' shows who has it"
            yield warn("ports", f"{port}, the usual one of {title}, is taken", cure)


def _print(title: str, found: Sequence[Finding], seconds: float, *, as_json: bool) -> None:
    from tasks.doctor.findings import counts

    number = counts(found)
    if as_json:
        rows = [asdict(each) for each in found]
        console.print_json({"aws": title, "findings": rows, "counts": number, "seconds": round(seconds, 2)})
        return
    console.print_plain(f"{title}\n")
    for each in found:
        _print_row(each)
    words = f"{number['fail']} to cure, {number['warn']} warnings, {number['skipped']} not looked at"
    console.print_plain(f"\n{words}, {number['ok']} as they should be; {seconds:.1f} s")


def _print_row(found: Finding) -> None:
    """Print a row, wrapped; its cure stands on a line of its own and unwrapped, so that it can be copied."""
    from kennel.terminal.plain_view import wrapped

    lead = f"{_WORDS[found.status]:<{_WORD_WIDTH}} {found.check:<{_CHECK_WIDTH}} "
    console.print_lines(wrapped(found.seen, lead).split("\n"))
    if found.cure:
        console.print_plain(f"{' ' * len(lead)}→ {found.cure}")
