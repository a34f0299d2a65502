"""`kennel audit`: looks at the account and prints what is too open, unused or left behind; it changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kennel import __version__
from kennel.commands.flow_run import run_flow
from kennel.commands.interrupted import handle_interrupts
from kennel.commands.known_runs import run_dir_of
from kennel.servers import environment
from kennel.terminal.console import begin, print_json, print_plain, print_table, say
from kennel.terminal.stages import SERVERS
from tasks.audit.findings import Severity, at_least
from tasks.audit.report import BY_ROOT, AuditReport, sarif
from tasks.run.errors import SettingsRefused
from tasks.run.record_store import write_atomically
from tasks.run.sealed import strict_json
from tasks.run.settings import Region

FOUND = 12


def audit(
    run_id: str | None,
    *,
    severity: Severity,
    unused_days: int,
    regions: tuple[str, ...],
    baseline: Path | None,
    sarif_file: Path | None,
    as_json: bool,
) -> int:
    """Audit the account and return 12 if there is a finding of `severity` or a higher one, otherwise 0.

    Raises:
        SettingsRefused: there is no such run, the embedded AWS does not run, a region is none, or the baseline file is
            not allowed.
        DiskFailed: the SARIF file cannot be written.
        KennelError: the kind that flows/audit.py names.
    """
    _check(regions)
    if run_id is not None:
        run_dir_of(environment.home_and_runs()[1], run_id)
    if environment.connect_to_running() is None:
        why = "an embedded AWS that starts now has nothing in it"
        raise SettingsRefused(
            "audit", "localaws does not run", why, "kennel up, or export KENNEL_ACCOUNT_ID=<12 digits>"
        )
    begin("kennel audit", (SERVERS,))
    handle_interrupts()
    baseline, sarif_file = (path and path.absolute() for path in (baseline, sarif_file))
    where = environment.start_servers(meanwhile=lambda: environment.import_flow("flows.audit"))
    say(f"AWS: {where.description}")
    from flows.audit import audit

    report = run_flow(audit(run_id=run_id, unused_days=unused_days, baseline=baseline, regions=regions), where)
    if sarif_file is not None:
        write_atomically(sarif_file, strict_json(sarif(report, __version__)).encode())
    _print(report, as_json=as_json)
    return FOUND if at_least(report.findings, severity) else 0


def _check(regions: tuple[str, ...]) -> None:
    for each in regions:
        try:
            TypeAdapter(Region).validate_python(each)
        except ValidationError:
            why = "a region is named as eu-central-1 is"
            raise SettingsRefused("audit", f"--regions {each}", why, "kennel audit --regions us-east-1") from None


def _print(report: AuditReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    for each in report.findings:
        print_table(f"{each.severity.upper()} {each.id}: {each.name}", {"what": each.evidence, "so": each.consequence})
        print_plain("".join(f"  {command}\n" for command in each.commands or (BY_ROOT,)))
    for note in report.notes:
        print_plain(note)
    print_plain(report.summary)
