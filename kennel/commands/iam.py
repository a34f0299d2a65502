"""`kennel iam`: prints the policy of a person who runs kennel, and what a run's roles used of what they may."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from kennel.servers import environment
from kennel.terminal.console import print_json, print_lines, print_plain, say
from tasks.run.errors import SettingsRefused, StageFailed

if TYPE_CHECKING:
    from tasks.account.permission_use import ActionUse, PermissionUse, Policy
    from tasks.run.handle import Run

LOAD_RATE_PER_SECOND, LOAD_SECONDS, IMAGES = 5.0, 10.0, 16


def operator_policy(
    features: Collection[str],
    *,
    account_id: str | None,
    region: str | None,
    prefix: str | None,
    bucket: str | None,
    sources: Sequence[str] = (),
) -> int:
    """Print the documents by feature as JSON; what is not given is what the settings say.

    Raises:
        SettingsRefused: no account is named, or there is no such feature.
        SourceRefused: a source is not in a bucket of S3.
    """
    from tasks.account.operator_policy import Account, operator_policies
    from tasks.data.bucket_source import place_of
    from tasks.run.naming import RESOURCE_PREFIX
    from tasks.run.settings import Settings

    given = {"account_id": ("--account", account_id), "region": ("--region", region), "bucket": ("--bucket", bucket)}
    settings = Settings.given(given)
    if settings.account_id is None:
        why = "the policy is bound to the resources of an account"
        named = "export KENNEL_ACCOUNT_ID=<12 digits>, or kennel iam operator-policy --account <12 digits>"
        raise SettingsRefused("operator policy", "no account is named", why, named)
    account = Account(
        settings.account_id,
        settings.region,
        prefix=prefix or RESOURCE_PREFIX,
        bucket=settings.bucket or "",
        sources=tuple(place_of(each).uri for each in sources),
    )
    every = operator_policies(account)
    unknown = [name for name in features if name not in every]
    if unknown:
        known = f"the features are {', '.join(every)}"
        raise SettingsRefused("operator policy", unknown[0], known, "kennel iam operator-policy --help")
    print_plain(json.dumps({name: each for name, each in every.items() if name in (features or every)}, indent=2))
    return 0


def used(run_id: str, *, is_applied: bool, as_json: bool) -> int:
    """Print what a run's roles used; with `is_applied`, set the tightened policies and prove that the run works so.

    Raises:
        SettingsRefused: there is no such run, or no AWS is named and the embedded AWS does not run.
        StageFailed: the deployment does not work with the tightened policies; the former ones are back.
        KennelError: another failure; the former policies are back.
    """
    from kennel.commands.known_runs import run_dir_of
    from tasks.account.permission_use import permission_use, tightened_policies
    from tasks.page.page import write_page
    from tasks.report.summary import StageTimes, summarise
    from tasks.run.handle import Run
    from tasks.teardown.rebuild import working_on

    run_dir_of(environment.home_and_runs()[1], run_id)
    if environment.connect_to_running() is None:
        why = "its record of who used what ended with it"
        raise SettingsRefused("iam used", "localaws does not run", why, f"kennel run --run-id {run_id}")
    run = Run.load(run_id)
    with working_on(run, "iam"):
        use = permission_use(run)
        run.keep(use)
        if run.path(StageTimes).exists():
            write_page(summarise(run))
        policies = tightened_policies(run, use)
        _print(use, policies, as_json=as_json)
        if is_applied:
            _apply(run, policies)
    return 0


def _print(use: PermissionUse, policies: Mapping[str, Policy], *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(use), "tightened": policies})
        return
    say(f"source: {use.source}")
    print_lines([line for role in dict.fromkeys(row.role for row in use.rows) for line in _lines(role, use)])
    if policies:
        say(f"--json shows, and --apply tries, the tightened policies of: {', '.join(policies)}")


def _lines(role: str, use: PermissionUse) -> list[str]:
    from tasks.report.permissions import count_text

    rows = [row for row in use.rows if row.role == role]
    states = ", ".join(f"{count} {state}" for state, count in Counter(row.state for row in rows).items())
    known = (replace(row, note="") if row.state == "not exercised" else row for row in rows)  # a source: not for a line
    return [f"{role}: {states}", *(f"  {row.action}: {count_text(row)}" for row in known)]


def _apply(run: Run, policies: Mapping[str, Policy]) -> None:
    provable = _provable(run)
    for name in policies:
        if name not in provable:
            say(f"{name}: not changed: what used it is over, so no test can prove the tightened policy again")
    chosen = {name: policy for name, policy in policies.items() if name in provable}
    if not chosen:
        say("nothing to apply: the roles that can be tried have no unused action")
        return
    try_policies(run, chosen)
    say(f"applied and proved by a smoke test and a load test: {', '.join(chosen)}")


def try_policies(run: Run, policies: Mapping[str, Policy]) -> None:
    """Set policies of a deployment's roles, test it, and set the former ones again if anything fails or is denied.

    Raises:
        StageFailed: a role was denied something, or a test failed.
        KennelError: another failure.
    """
    from tasks.account.permission_use import permission_use, policies_on_trial, without

    use, failed = permission_use(run), None
    before = use.denials
    with policies_on_trial(run, policies):
        time.sleep(run.settings.target().policy_propagation_seconds)
        try:
            _test(run)
        except StageFailed as error:
            failed = error
        after = permission_use(run)
        denied = [row for row in after.rows if row.denied > before.get((row.role, row.action), 0)]
        if denied:
            raise _denied(denied) from failed
        if failed is not None:
            raise failed
        run.keep(without(after, (row for row in use.rows if row.state == "unused" and row.role in policies)))


def _test(run: Run) -> None:
    from tasks.load.generator import GeneratorOptions, run_load_test
    from tasks.load.photos import fetch_test_images
    from tasks.run.records import DatasetRef, FunctionRef
    from tasks.serving.smoke import smoke_test

    function, dataset = run.need(FunctionRef), run.need(DatasetRef)
    smoke_test(run.aws, function, dataset)
    report = run_load_test(
        run.settings,
        run.folder / "permissions",
        target=function,
        images=fetch_test_images(run.aws, dataset, run.folder / "loadtest-images", count=IMAGES),
        rate_per_second=LOAD_RATE_PER_SECOND,
        seconds=LOAD_SECONDS,
        options=GeneratorOptions(time_scale=run.settings.time_scale),
    )
    if report.failures:
        what = f"{report.failures} of {report.requests} requests failed with the tightened policies"
        raise StageFailed("iam used", what, "they did not fail before", f"kennel logs {run.id} --source function")


def _denied(rows: list[ActionUse]) -> StageFailed:
    what = ", ".join(f"{row.role} was denied {row.action}" for row in rows)
    return StageFailed("iam used", what, "the tightened policy does not allow it", "kennel iam used <run>")


def _provable(run: Run) -> set[str]:
    """Return the roles that the deployment uses: those of the endpoint and of the function."""
    from tasks.account.role_policies import ROLE_NAME_LIMIT
    from tasks.run.naming import resource_name

    return {resource_name(run.id, name, limit=ROLE_NAME_LIMIT) for name in ("endpoint", "classify")}
